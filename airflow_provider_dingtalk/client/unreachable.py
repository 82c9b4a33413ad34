"""Causes of failed connections, and the next step for the user."""

from __future__ import annotations

import errno
import ssl
from enum import StrEnum
from typing import Any, NamedTuple

import aiohttp
import httpx

from airflow_provider_dingtalk.client.hosts import is_loopback
from airflow_provider_dingtalk.client.proxy import Proxy
from airflow_provider_dingtalk.exceptions import ConnectionFailedError


class Cause(StrEnum):
    """Cause of a failed connection."""

    NAME = "name"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    CERTIFICATE = "certificate"
    TLS = "tls"
    PROXY = "proxy"
    PROXY_LOGIN = "proxy login"
    OTHER = "other"


class NoConnectionError(httpx.ConnectError):
    """Error for a failed connection. Nothing was sent.

    :param detail: Description of the failure, without secrets.
    """

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause = cause
        self.detail = detail


class _Advice(NamedTuple):
    en: str
    zh: str


_ADVICE = {
    Cause.NAME: _Advice("Check the host name, and DNS on this machine.", "请检查主机名以及本机的 DNS。"),
    Cause.REFUSED: _Advice(
        "Check the address, the port, and the firewall of this machine.", "请检查地址、端口以及本机防火墙。"
    ),
    Cause.TIMEOUT: _Advice(
        "Check the firewall. If this machine needs a proxy, set HTTPS_PROXY or the connection's extra proxy.",
        "请检查防火墙；如需代理，请设置 HTTPS_PROXY 或连接的 extra proxy。",
    ),
    Cause.CERTIFICATE: _Advice(
        "If a proxy with its own CA stands in between, name the CA's PEM file in extra ca_file or SSL_CERT_FILE.",
        "如果中间有使用自有 CA 的代理，请在 extra ca_file 或 SSL_CERT_FILE 中指定该 CA 的 PEM 文件。",
    ),
    Cause.TLS: _Advice(
        "Check that the port speaks TLS, and that no firewall or proxy interferes.",
        "请检查该端口是否使用 TLS，以及是否被防火墙或代理干扰。",
    ),
    Cause.PROXY: _Advice(
        "Check the proxy: the connection's extra proxy, or HTTPS_PROXY and NO_PROXY.",
        "请检查代理：连接的 extra proxy，或 HTTPS_PROXY 与 NO_PROXY。",
    ),
    Cause.PROXY_LOGIN: _Advice(
        "Check user and password of the proxy: in the connection's extra proxy, or in HTTPS_PROXY.",
        "请检查代理的用户名和密码：连接的 extra proxy 或 HTTPS_PROXY。",
    ),
    Cause.OTHER: _Advice(
        "Check network, proxy and certificates between this machine and DingTalk.",
        "请检查本机到钉钉的网络、代理与证书。",
    ),
}
_SANDBOX = _Advice(
    "Is the sandbox running? Start it: python -m airflow_provider_dingtalk.sandbox",
    "沙箱是否已启动？启动命令：python -m airflow_provider_dingtalk.sandbox",
)


def not_sent(endpoint: str, url: httpx.URL, error: Exception) -> ConnectionFailedError:
    """Return the client's error for a call whose connection failed."""
    known = error if isinstance(error, NoConnectionError) else None
    cause = known.cause if known else Cause.OTHER
    advice = _SANDBOX if cause is Cause.REFUSED and is_loopback(url.host) else _ADVICE[cause]
    detail = known.detail if known else type(error).__name__
    return ConnectionFailedError(
        f"{endpoint}: no connection to {address_of(url)} ({detail}).",
        code="not_sent",
        next_step=advice.en,
        next_step_zh=advice.zh,
    )


def address_of(url: httpx.URL) -> str:
    """Return host and port of a URL."""
    host = url.raw_host.decode("ascii", "replace")
    port = url.port or (443 if url.scheme == "https" else 80)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def connect_error(error: Exception, proxy: Proxy | None) -> NoConnectionError:
    """Convert an error that aiohttp raised before it had a connection."""
    via = f"the proxy {proxy.address}" if proxy else ""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        cause = Cause.PROXY_LOGIN if error.status == 407 else Cause.PROXY
        return NoConnectionError(cause, f"{via} answered HTTP {error.status}")
    cause, detail = _cause(error)
    if not via or cause in (Cause.CERTIFICATE, Cause.TLS):
        return NoConnectionError(cause, f"{detail}, through {via}" if via else detail)
    return NoConnectionError(Cause.PROXY, f"{via}: {detail}")


def _cause(error: Exception) -> tuple[Cause, str]:
    match error:
        case aiohttp.ClientConnectorDNSError() | UnicodeError() | aiohttp.InvalidURL():
            return Cause.NAME, "its name is unknown to DNS"
        case TimeoutError():
            return Cause.TIMEOUT, "no answer in time"
        case aiohttp.ClientConnectorCertificateError():
            return Cause.CERTIFICATE, f"certificate not accepted: {_key_result(error.certificate_error)}"
        case aiohttp.ClientConnectorSSLError():
            return Cause.TLS, f"TLS failed: {_reason(error)}"
        case aiohttp.ClientConnectorError() if error.os_error.errno == errno.ECONNREFUSED:
            return Cause.REFUSED, "refused"
        case aiohttp.ClientConnectorError():
            return Cause.OTHER, _named(error.os_error)
        case _:
            return Cause.OTHER, type(error).__name__


def _key_result(error: Any) -> str:
    return error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else type(error).__name__


def _reason(error: Any) -> str:
    return str(getattr(error.os_error, "reason", None) or type(error.os_error).__name__)


def _named(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0) or type(error).__name__
