"""Hosts of DingTalk by region, and of the sandbox on loopback."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from msgspec import Struct

from airflow_provider_dingtalk.client.endpoints import Host
from airflow_provider_dingtalk.exceptions import ConfigurationError

#: Top-level domain of each region. An app's credentials are bound to a region.
REGIONS = {"international": "io", "cn": "com"}


class Hosts(Struct, frozen=True):
    """Base URLs of the two hosts, without a slash at the end."""

    api: str
    oapi: str

    def base_url(self, host: Host) -> str:
        """Return the base URL of a host."""
        return self.api if host is Host.API else self.oapi


def hosts_of_region(region: str) -> Hosts:
    """Return the hosts of a region.

    :raises ConfigurationError: If the region is unknown.
    """
    if region not in REGIONS:
        names = ", ".join(sorted(REGIONS))
        raise ConfigurationError(
            f"Invalid region {region!r}; expected one of: {names}.",
            message_zh=f"region {region!r} 无效；应为其中之一：{names}。",
        )
    return Hosts(f"https://api.dingtalk.{REGIONS[region]}", f"https://oapi.dingtalk.{REGIONS[region]}")


def hosts_at(url: str, allowed: frozenset[str] = frozenset()) -> Hosts:
    """Return both hosts at one address, as for the sandbox on loopback.

    :param allowed: Other host names that the administrator allows, by https only; default none.
    :raises ConfigurationError: If the host is neither loopback nor allowed, or the URL has more than scheme, host
        and port.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigurationError("host: is no URL.") from None
    name = parts.hostname or ""
    has_more = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in ("http", "https") or not name or has_more or port == 0:
        raise ConfigurationError("host: must be scheme, host and port, e.g. http://127.0.0.1:8848.")
    if parts.username or parts.password:
        raise ConfigurationError("host: must hold no user and no password.")
    if not (is_loopback(name) or (name in allowed and parts.scheme == "https")):
        raise ConfigurationError(
            f"host: {name!r} is not allowed.",
            message_zh=f"host：不允许 {name!r}。",
            next_step="Leave it empty for DingTalk and set 'region'; a loopback address is for the sandbox. "
            "Other hosts must be allowed in airflow.cfg, section [dingtalk], option allowed_hosts, and use https.",
        )
    base = f"{parts.scheme}://{bracketed(name)}" + (f":{port}" if port else "")
    return Hosts(base, base)


def bracketed(name: str) -> str:
    """Return a host name as in a URL, with brackets around an IPv6 address."""
    return f"[{name}]" if ":" in name else name


def is_address(name: str, version: int | None = None) -> bool:
    """Return True for an IP address without brackets and zone.

    :param version: 4 or 6; default either.
    """
    if "%" in name:  # a zone may be any text
        return False
    try:
        return version in (None, ipaddress.ip_address(name).version)
    except ValueError:
        return False


def is_loopback(name: str) -> bool:
    """Return True for ``localhost`` and for loopback addresses without brackets."""
    return name == "localhost" or (is_address(name) and ipaddress.ip_address(name).is_loopback)
