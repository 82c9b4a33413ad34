"""The socket: a pool of TLS connections, one for each process and event loop.

httpx's transport is used without its client on top: no redirects, no cookies, no ``.netrc``, no log line
with a URL in it, and half of the work per call.
"""

from __future__ import annotations

import functools
import ssl
import urllib.request
from urllib.parse import urlsplit

import httpx

#: Connections kept, and calls in flight. The pool looks at every connection for every call: more is slower.
MAX_CONNECTIONS = 10


@functools.cache
def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """The process's one TLS context: building it costs 16 ms and 0.7 MB. Certificates are always verified.

    :param ca_file: PEM file to trust instead of the system's certificates.
    """
    return ssl.create_default_context(cafile=ca_file) if ca_file else httpx.create_ssl_context(trust_env=True)


def transport_for(base_url: str, ca_file: str | None = None) -> httpx.AsyncBaseTransport:
    """A pool of connections to one host, through the proxy of the environment if there is one.

    :param base_url: Scheme and host; no proxy for loopback.
    """
    return httpx.AsyncHTTPTransport(
        # Plain http is for loopback only; its context trusts nobody.
        verify=tls_context(ca_file) if base_url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS),
        proxy=_proxy_for(base_url),
        trust_env=False,
    )


def _proxy_for(base_url: str) -> str | None:
    url = urlsplit(base_url)
    if url.scheme != "https" or urllib.request.proxy_bypass(url.hostname or ""):
        return None
    return urllib.request.getproxies().get("https")
