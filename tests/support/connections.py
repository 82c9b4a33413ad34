"""One running sandbox for all these tests, emptied before each, and Airflow connections to it.

The package is imported inside the fixtures: pytest loads this module before coverage begins in its workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

if TYPE_CHECKING:
    from airflow_provider_dingtalk.hooks import DingTalkHook
    from airflow_provider_dingtalk.sandbox.testing import SandboxServer

Connect: TypeAlias = "Callable[..., DingTalkHook]"


@pytest.fixture
def anyio_backend() -> str:
    """The package is written for asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def server() -> Iterator[SandboxServer]:
    """The shared sandbox."""
    from airflow_provider_dingtalk.sandbox.default import default_state
    from airflow_provider_dingtalk.sandbox.testing import running_sandbox

    with running_sandbox(default_state(seed=11)) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: SandboxServer) -> SandboxServer:
    """A real server on loopback, empty and without a rate limit."""
    server.state.reset()
    server.state.behaviour = server.state.behaviour.changed({"calls_per_second": 0})
    return server


@pytest.fixture
def connect(sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Function that redefines ``dingtalk_default`` as a connection to the sandbox and returns its hook."""
    from airflow_provider_dingtalk.hooks import DingTalkHook
    from tests.support.airflow_seams import connection

    def define(**changes: Any) -> DingTalkHook:
        monkeypatch.setenv("AIRFLOW_CONN_DINGTALK_DEFAULT", connection(sandbox, **changes))
        return DingTalkHook()

    return define


@pytest.fixture
def hook(connect: Connect) -> DingTalkHook:
    """A hook whose connection leads to the sandbox."""
    return connect()
