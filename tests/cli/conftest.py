"""One running sandbox for all these tests, emptied before each, and a shell beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_dingtalk.sandbox.behaviour import Behaviour
from airflow_provider_dingtalk.sandbox.default import default_state
from airflow_provider_dingtalk.sandbox.testing import SandboxServer, running_sandbox
from tests.cli.fake_airflow import FakeAirflow, running_airflow
from tests.cli.terminal import Terminal


@pytest.fixture(scope="session")
def server() -> Iterator[SandboxServer]:
    with running_sandbox(default_state(seed=5, behaviour=Behaviour(calls_per_second=0))) as sandbox:
        yield sandbox


@pytest.fixture
def terminal(server: SandboxServer, tmp_path: Path) -> Terminal:
    server.state.reset()
    return Terminal(server, tmp_path / "home")


@pytest.fixture
def airflow() -> Iterator[FakeAirflow]:
    with running_airflow() as fake:
        yield fake
