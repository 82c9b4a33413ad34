"""Errors of calls without a connection or an answer, each with the next step for the user."""

from __future__ import annotations

import errno
from typing import NamedTuple

import aiohttp
import httpx

from airflow_provider_dingtalk.client.hosts import bracketed, is_loopback
from airflow_provider_dingtalk.client.proxy import Proxy
from airflow_provider_dingtalk.exceptions import ConnectionFailedError, NoResponseError


class Cause(NamedTuple):
    """Cause of a failed call, with the next step for the user in English and in Chinese."""

    next_step: str
    next_step_zh: str


# fmt: off
NAME = Cause("Check the host name, and DNS on this machine.", "请检查主机名以及本机的 DNS。")
REFUSED = Cause("Check the address, the port, and the firewall of this machine.", "请检查地址、端口以及本机防火墙。")
TIMEOUT = Cause("Check the firewall. If this machine needs a proxy, set HTTPS_PROXY or the connection's extra proxy.",
                "请检查防火墙；如需代理，请设置 HTTPS_PROXY 或连接的 extra proxy。")
CERTIFICATE = Cause(
    "If a proxy with its own CA stands in between, name the CA's PEM file in extra ca_file or SSL_CERT_FILE.",
    "如果中间有使用自有 CA 的代理，请在 extra ca_file 或 SSL_CERT_FILE 中指定该 CA 的 PEM 文件。")
TLS = Cause("Check that the port speaks TLS, and that no firewall or proxy interferes.",
            "请检查该端口是否使用 TLS，以及是否被防火墙或代理干扰。")
PROXY = Cause("Check the proxy: the connection's extra proxy, or HTTPS_PROXY and NO_PROXY.",
              "请检查代理：连接的 extra proxy，或 HTTPS_PROXY 与 NO_PROXY。")
PROXY_LOGIN = Cause("Check user and password of the proxy: in the connection's extra proxy, or in HTTPS_PROXY.",
                    "请检查代理的用户名和密码：连接的 extra proxy 或 HTTPS_PROXY。")
OTHER = Cause("Check network, proxy and certificates between this machine and DingTalk.",
              "请检查本机到钉钉的网络、代理与证书。")
SANDBOX = Cause("Is the sandbox running? Start it: python -m airflow_provider_dingtalk.sandbox",
                "沙箱是否已启动？启动命令：python -m airflow_provider_dingtalk.sandbox")
NO_RESPONSE = Cause("Ask for the status of the message, or run the recall again.", "请查询消息状态或重新执行撤回。")
# fmt: on


class NoConnectionError(httpx.ConnectError):
    """Error for a failed connection. Nothing was sent.

    :param detail: Description of the failure, without secrets.
    :param detail_zh: The same in Chinese.
    """

    def __init__(self, cause: Cause, detail: str, detail_zh: str) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail
        self.detail_zh = detail_zh


def not_sent(endpoint: str, url: httpx.URL, error: Exception) -> ConnectionFailedError:
    """Return the client's error for a call whose connection failed."""
    cause, detail = OTHER, type(error).__name__
    detail_zh = detail
    if isinstance(error, NoConnectionError):
        cause, detail, detail_zh = error.cause, error.detail, error.detail_zh
    if cause is REFUSED and is_loopback(url.host):
        cause = SANDBOX
    address = _address_of(url)
    text, zh = f"{endpoint}: no connection to {address} ({detail}).", f"{endpoint}：无法连接 {address}（{detail_zh}）。"
    return ConnectionFailedError(text, code="not_sent", message_zh=zh, **cause._asdict())


def no_response(endpoint: str, url: httpx.URL, problem: str) -> NoResponseError:
    """Return the client's error for a call without a whole answer."""
    address = _address_of(url)
    text = f"{endpoint}: the answer of {address} was lost ({problem})."
    zh = f"{endpoint}：{address} 的响应丢失（{problem}）。"
    return NoResponseError(text, code="no_answer", message_zh=zh, **NO_RESPONSE._asdict())


def _address_of(url: httpx.URL) -> str:
    port = url.port or (443 if url.scheme == "https" else 80)
    return f"{bracketed(url.raw_host.decode('ascii', 'replace'))}:{port}"


def connect_error(error: Exception, proxy: Proxy | None) -> NoConnectionError:
    """Convert an error that aiohttp raised before it had a connection."""
    via, zh_via = (f"the proxy {proxy.address}", f"代理 {proxy.address}") if proxy else ("", "")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        cause = PROXY_LOGIN if error.status == 407 else PROXY
        return NoConnectionError(cause, f"{via} answered HTTP {error.status}", f"{zh_via} 返回 HTTP {error.status}")
    cause, detail, zh = _cause(error)
    if not via:
        return NoConnectionError(cause, detail, zh)
    if cause in (CERTIFICATE, TLS):
        return NoConnectionError(cause, f"{detail}, through {via}", f"{zh}，经由{zh_via}")
    return NoConnectionError(PROXY, f"{via}: {detail}", f"{zh_via}：{zh}")


def _cause(error: Exception) -> tuple[Cause, str, str]:
    """Return the cause, and its description in English and in Chinese."""
    match error:
        case aiohttp.ClientConnectorDNSError() | UnicodeError() | aiohttp.InvalidURL():
            return NAME, "its name is unknown to DNS", "DNS 中没有该主机名"
        case TimeoutError():
            return TIMEOUT, "no answer in time", "超时未响应"
        case aiohttp.ClientConnectorCertificateError(certificate_error=problem):
            reason = getattr(problem, "verify_message", None) or type(problem).__name__
            return CERTIFICATE, f"certificate not accepted: {reason}", f"证书不受信任：{reason}"
        case aiohttp.ClientConnectorSSLError(os_error=problem):
            reason = getattr(problem, "reason", None) or type(problem).__name__
            return TLS, f"TLS failed: {reason}", f"TLS 失败：{reason}"
        case aiohttp.ClientConnectorError(os_error=problem) if problem.errno == errno.ECONNREFUSED:
            return REFUSED, "refused", "连接被拒绝"
        case aiohttp.ClientConnectorError(os_error=problem):
            name = errno.errorcode.get(problem.errno or 0) or type(problem).__name__
            return OTHER, name, name
        case _:
            return OTHER, type(error).__name__, type(error).__name__
