"""Serving the sandbox with uvicorn, quietly and fast."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from airflow_provider_dingtalk.sandbox.app import create_app
from airflow_provider_dingtalk.sandbox.state import World
from airflow_provider_dingtalk.sandbox.wire import WiredProtocol

#: Longer than clients keep a connection, so that the server never closes one that is about to be used.
KEEP_ALIVE_SECONDS = 75
#: What is still under way at a stop is cut after this: faults may hold answers back for long.
GRACE_SECONDS = 1
BACKLOG = 2048


class Server(uvicorn.Server):
    """Uvicorn's server that tells when it is ready.

    :param ready: Called once requests are answered.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell."""
        await super().startup(sockets=sockets)
        self.ready()


def make_server(world: World, *, ready: Callable[[], None] = lambda: None, **options: Any) -> Server:
    """A server for the sandbox over a world.

    :param ready: Called once requests are answered.
    :param options: More settings of ``uvicorn.Config``, such as ``ssl_certfile`` and ``ssl_keyfile``.
    """
    config = uvicorn.Config(
        create_app(world),
        http=WiredProtocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        # A forwarded address would hide the connection from the faults that cut it.
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        **options,
    )
    return Server(config, ready)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)
