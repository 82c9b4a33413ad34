"""Fixtures: a shared sandbox, emptied before each test, and a virtual clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_dingtalk.sandbox.default import default_state
from airflow_provider_dingtalk.sandbox.testing import SandboxServer, running_sandbox
from tests.clock import VirtualClock


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(scope="session")
def _server() -> Iterator[SandboxServer]:
    with running_sandbox(default_state(seed=3)) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_server: SandboxServer) -> SandboxServer:
    """A real server on loopback, empty and without a rate limit by default."""
    _server.state.reset()
    _server.state.behaviour = _server.state.behaviour.changed({"calls_per_second": 0})
    return _server
