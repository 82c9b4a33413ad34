"""HTTP proxy for calls to DingTalk, from connection or environment."""

from __future__ import annotations

import base64
import ipaddress
import re
import urllib.request
from typing import ClassVar
from urllib.parse import SplitResult, unquote, urlsplit

from msgspec import Struct

from airflow_provider_dingtalk.client.hosts import bracketed, is_address, is_loopback
from airflow_provider_dingtalk.client.secret_fields import SecretFields
from airflow_provider_dingtalk.exceptions import ConfigurationError

_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")
_PORTS = {"http": 80, "https": 443}


class Proxy(SecretFields, Struct, frozen=True, kw_only=True):
    """HTTP proxy. Its credentials are never shown.

    :param url: Scheme, host and port.
    :param authorization: Value of the header ``Proxy-Authorization``; default empty, without credentials.
    """

    shown: ClassVar = ("url",)

    url: str
    authorization: str = ""

    @property
    def address(self) -> str:
        """Address as host and port."""
        return self.url.partition("://")[2]

    def headers(self) -> dict[str, str] | None:
        """Return the headers for the proxy only; None without credentials."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else None


def parse_proxy(text: str, name: str) -> Proxy:
    """Parse ``host:port`` or ``http://user:password@host:port``, as curl and requests do.

    :param name: Name of the option, for the error.
    :raises ConfigurationError: If it is invalid. The error does not show the value, which may hold a password.
    """
    parsed = _parsed(text)
    del text  # this frame is part of the error's traceback
    if isinstance(parsed, Proxy):
        return parsed
    raise ConfigurationError(
        f"Invalid {name}: {parsed}; expected http://host:port or http://user:password@host:port.",
        message_zh=f"{name} 无效：{parsed}；应为 http://host:port 或 http://user:password@host:port。",
        next_step="Characters such as @ : / # % in user or password must be percent-encoded.",
        next_step_zh="用户名或密码中的 @ : / # % 等字符须进行百分号编码。",
    )


def environment_proxy(base_url: str) -> Proxy | None:
    """Find the proxy of ``HTTPS_PROXY`` or ``ALL_PROXY``, unless ``NO_PROXY`` excludes the host.

    :param base_url: Scheme and host. Loopback addresses and ``http`` use no proxy. A blank variable counts as not set.
    :raises ConfigurationError: If the variable is not a valid proxy.
    """
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if parts.scheme != "https" or is_loopback(host) or _is_excepted(host, parts.port or _PORTS["https"]):
        return None
    for scheme in ("https", "all"):
        # Not kept in a local variable, because this frame is part of the error's traceback.
        if urllib.request.getproxies().get(scheme, "").strip():
            return parse_proxy(urllib.request.getproxies()[scheme], f"{scheme.upper()}_PROXY")
    return None


def _parsed(text: str) -> Proxy | str:
    """Parse a proxy, or return a description of its error."""
    try:
        parts = urlsplit(text.strip() if "://" in text else f"http://{text.strip()}")
        port = parts.port if parts.port is not None else _PORTS.get(parts.scheme)
        authorization = _authorization(parts)
    except ValueError:
        return "it is not a URL"
    if parts.scheme not in _PORTS:
        return "only HTTP proxies are supported"
    host = parts.hostname or ""
    is_host = _NAME.fullmatch(host) or is_address(host)
    if not port or not is_host or parts.path.strip("/") or parts.query or parts.fragment:
        return "it is not the address of a proxy"
    return Proxy(url=f"{parts.scheme}://{bracketed(host)}:{port}", authorization=authorization)


def _authorization(parts: SplitResult) -> str:
    if parts.username is None:
        return ""
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


def _is_excepted(host: str, port: int) -> bool:
    """Return True if an entry of ``NO_PROXY`` matches.

    An entry is a host, a domain, a network, or ``*``; hosts and domains may have a port.
    """
    entries = urllib.request.getproxies().get("no", "").replace(",", " ").split()
    patterns = {*entries, *(one.removesuffix(f":{port}") for one in entries)}
    return bool(urllib.request.proxy_bypass(host)) or any(_matches(host, one) for one in patterns)


def _matches(host: str, pattern: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        domain = pattern.lower().removeprefix("*").strip(".")
        return pattern == "*" or (bool(domain) and (host == domain or host.endswith(f".{domain}")))
