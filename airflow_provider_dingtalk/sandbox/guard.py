"""Guard of the control API and its page against other web pages, DNS rebinding and oversized bodies.

A browser tells by ``Origin`` and ``Sec-Fetch-Site`` which page makes a request, and by ``Host`` which name it resolved.
See https://fetch.spec.whatwg.org/#origin-header and https://w3c.github.io/webappsec-fetch-metadata/.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

import msgspec
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from airflow_provider_dingtalk.client.hosts import is_loopback
from airflow_provider_dingtalk.sandbox.limits import MAX_BODY_BYTES, LimitError

#: ``Sec-Fetch-Site`` of a request that the page itself or the person at the browser makes.
OWN_SITES = frozenset({"same-origin", "none"})


class Guard:
    """ASGI middleware that answers 403 to requests of other sites.

    :param allowed_hosts: Host names and addresses that are trusted besides loopback ones and the address that the
        connection was made to; with any port.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Collection[str] = ()) -> None:
        self.app = app
        self.allowed_hosts = frozenset(host.lower().rstrip(".") for host in allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if reason := self._refusal(scope):
            await _refused(reason)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        """Return the reason to refuse a request, or None."""
        headers = Headers(scope=scope)
        server = (scope.get("server") or ("",))[0]
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if not hosts or not all(self._is_trusted(_host_of(f"//{host}"), server) for host in hosts):
            return "Invalid header Host: it names a host that this sandbox does not serve; see --allow-host"
        if origins:
            trusted = all(self._is_trusted(_host_of(origin), server) for origin in origins)
            return None if trusted else "Invalid header Origin: another web page made this request"
        if headers.get("sec-fetch-site", "none") in OWN_SITES or _is_link(scope, headers):
            return None
        return "Invalid header Sec-Fetch-Site: another web page made this request"

    def _is_trusted(self, host: str, server: str) -> bool:
        return is_loopback(host) or (host != "" and host in self.allowed_hosts | {server})


def _host_of(url: str) -> str:
    """Return the host of a URL in lower case, or an empty text without one."""
    try:
        parts = urlsplit(url)
        return "" if parts.username is not None else (parts.hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_link(scope: Scope, headers: Headers) -> bool:
    """Return True if a person followed a link to here; the page that has the link cannot read the response."""
    navigates = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == ("navigate", "document")
    return navigates and scope["method"] == "GET"


def _refused(reason: str) -> Response:
    return Response(msgspec.json.encode({"error": reason}), 403, media_type="application/json")


async def read_body(request: Request) -> bytes:
    """Read a body of at most 8 MiB.

    :raises LimitError: If the body is longer; the rest is not read.
    """
    announced = request.headers.get("content-length", "")
    body = bytearray()
    if announced.isdecimal() and int(announced[:20]) > MAX_BODY_BYTES:
        raise LimitError("body", MAX_BODY_BYTES, "bytes", 413)
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise LimitError("body", MAX_BODY_BYTES, "bytes", 413)
    return bytes(body)
