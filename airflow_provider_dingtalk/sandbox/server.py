"""Uvicorn server of the sandbox, without access log."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection
from typing import Any

import uvicorn

from airflow_provider_dingtalk.sandbox.app import create_app
from airflow_provider_dingtalk.sandbox.connections import TrackedProtocol
from airflow_provider_dingtalk.sandbox.state import ServerState

#: Keep-alive timeout, longer than that of the clients, so that the server never closes a connection in use.
KEEP_ALIVE_SECONDS = 75
#: Time for requests in flight at a stop, which is short because faults may delay answers for long.
GRACE_SECONDS = 1
BACKLOG = 2048


class Server(uvicorn.Server):
    """Uvicorn server that reports when it is ready.

    :param ready: Function that is called once the server answers requests.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the server and call ``ready``."""
        await super().startup(sockets=sockets)
        self.ready()


def make_server(
    state: ServerState,
    *,
    ready: Callable[[], None] = lambda: None,
    allowed_hosts: Collection[str] = (),
    **options: Any,
) -> Server:
    """Create a server for a sandbox state.

    :param allowed_hosts: Host names for ``/_sandbox/`` besides loopback ones; default none.
    :param ready: Function that is called once the server answers requests; default does nothing.
    :param options: More settings of ``uvicorn.Config``, such as ``ssl_certfile`` and ``ssl_keyfile``.
    """
    config = uvicorn.Config(
        create_app(state, allowed_hosts),
        http=TrackedProtocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        # With a forwarded address, faults could not find the connection that they cut.
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        **options,
    )
    return Server(config, ready)


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 takes a free port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)
