"""Sandbox for tests, as a real server on a free loopback port."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from airflow_provider_dingtalk.sandbox.default import AGENT_ID, CLIENT_ID, CLIENT_SECRET, ROBOT_CODE, default_state
from airflow_provider_dingtalk.sandbox.server import listen, make_server
from airflow_provider_dingtalk.sandbox.state import ServerState

LOOPBACK = "127.0.0.1"
STARTUP_SECONDS = 10


@dataclass(frozen=True, slots=True)
class SandboxServer:
    """Running sandbox."""

    url: str  # URL of both DingTalk hosts, as ``http://127.0.0.1:PORT``
    state: ServerState  # State of the sandbox, which a test may read and change

    def snapshot(self, *, brief: bool = False) -> dict[str, Any]:
        """Return a state snapshot.

        :param brief: Leave out messages, conversations and people; default False.
        :returns: Messages, counts by kind, calls by API, and conversations.
        """
        return self.state.snapshot(brief=brief)

    def faults(self, *rules: Any) -> None:
        """Replace the active rules; structs or plain JSON."""
        self.state.faults.replace(list(rules))

    def connection(self) -> dict[str, Any]:
        """Return the Airflow connection to this sandbox, for ``AIRFLOW_CONN_DINGTALK_DEFAULT``."""
        return connection_to(self.url)


def connection_to(url: str) -> dict[str, Any]:
    """Return the Airflow connection of the default app to a sandbox."""
    return {
        "conn_type": "dingtalk",
        "host": url,
        "login": CLIENT_ID,
        "password": CLIENT_SECRET,
        "extra": {"robot_code": ROBOT_CODE, "agent_id": str(AGENT_ID)},
    }


@contextmanager
def running_sandbox(state: ServerState | None = None, *, port: int = 0, **options: Any) -> Iterator[SandboxServer]:
    """Run a sandbox in a thread until the context ends.

    :param state: State of the sandbox; default a new one with the default organisation.
    :param port: Loopback port; default 0 for a free one.
    :param options: More settings of ``uvicorn.Config``, such as ``ssl_certfile`` and ``ssl_keyfile``.
    :raises RuntimeError: If the server does not start within 10 seconds.
    """
    state = state or default_state()
    ready = threading.Event()
    server = make_server(state, ready=ready.set, **options)
    with listen(LOOPBACK, port) as sock:
        thread = threading.Thread(target=server.run, args=([sock],), name="dingtalk-sandbox", daemon=True)
        thread.start()
        if not ready.wait(STARTUP_SECONDS):
            raise RuntimeError("the sandbox did not start")
        scheme = "https" if options.get("ssl_certfile") else "http"
        try:
            yield SandboxServer(f"{scheme}://{LOOPBACK}:{sock.getsockname()[1]}", state)
        finally:
            server.should_exit = True
            thread.join(STARTUP_SECONDS)
