"""One running sandbox for all these tests, emptied before each."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from airflow_provider_dingtalk.sandbox.default import default_state
from airflow_provider_dingtalk.sandbox.testing import SandboxServer, running_sandbox
from tests.sandbox.raw_client import Clock, RawClient


@pytest.fixture(scope="session")
def clock() -> Clock:
    """The clock of the shared sandbox."""
    return Clock()


@pytest.fixture(scope="session")
def server(clock: Clock) -> Iterator[SandboxServer]:
    """The shared sandbox. Seeded, so that every run sends the same keys."""
    with running_sandbox(default_state(seed=7, now=clock)) as sandbox:
        yield sandbox


@pytest.fixture
def client(server: SandboxServer, clock: Clock) -> Iterator[RawClient]:
    """A logged-in client of an empty sandbox in which nothing is throttled."""
    clock.time = Clock.time
    server.state.reset()
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        client = RawClient(server, clock, http)
        client.token = client.login()
        client.behave(calls_per_second=0)
        yield client
