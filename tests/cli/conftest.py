"""One running sandbox for all these tests, emptied before each, and a shell beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_dingtalk.sandbox.behaviour import Behaviour
from airflow_provider_dingtalk.sandbox.default import default_state
from airflow_provider_dingtalk.sandbox.testing import SandboxServer, running_sandbox
from tests.cli.fake_airflow import FakeAirflow, running_airflow
from tests.cli.forks import Forks
from tests.cli.terminal import Terminal, environment


@pytest.fixture(scope="session")
def server() -> Iterator[SandboxServer]:
    with running_sandbox(default_state(seed=5, behaviour=Behaviour(calls_per_second=0))) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Airflow's folder, one for all because Airflow reads its name when it is imported."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def forks(home: Path) -> Iterator[Forks]:
    with Forks(environment(home)) as forks:
        yield forks


@pytest.fixture
def terminal(server: SandboxServer, home: Path, forks: Forks) -> Terminal:
    server.state.reset()
    shutil.rmtree(home / "dingtalk", ignore_errors=True)
    return Terminal(server, home, forks)


@pytest.fixture
def airflow() -> Iterator[FakeAirflow]:
    with running_airflow() as fake:
        yield fake
