"""Airflow's surroundings for the tests: set here, since Airflow reads them once, when it is first imported."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

REAL_AIRFLOW = Path(__file__).parent / "real_airflow"
#: Files of tests that start an Airflow of their own.
OF_THEIR_OWN = ("/test_demo.py", "/test_stack.py", "/test_up.py")

HOME = tempfile.mkdtemp(prefix="airflow-home-")
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

# Connections, variables and settings of the user's Airflow must not influence the tests.
for name in [name for name in os.environ if name.startswith(("AIRFLOW_CONN_", "AIRFLOW_VAR_", "AIRFLOW__"))]:
    del os.environ[name]

os.environ["AIRFLOW_HOME"] = HOME
# The locale decides the language of errors, unless it is an option.
os.environ["LC_ALL"] = "C.UTF-8"
# Lets tests call op.execute(context) themselves: elsewhere Airflow refuses that outside its task runner.
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

# Airflow is imported by these, after its surroundings are set.
from tests.support.connections import anyio_backend, connect, hook, sandbox, server  # noqa: E402

__all__ = ["anyio_backend", "connect", "hook", "sandbox", "server"]


@pytest.fixture(autouse=True)
def package_log() -> Iterator[None]:
    """Put the package's logger back after each test; a command in the same process sends it to stderr."""
    logger = logging.getLogger("airflow_provider_dingtalk")
    handlers, level, propagate = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.level, logger.propagate = handlers, level, propagate


@pytest.fixture
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts for people in English only."""
    monkeypatch.setenv("AIRFLOW__DINGTALK__LANGUAGE", "en")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests in real Airflow first, because they take longest."""
    items.sort(key=lambda item: REAL_AIRFLOW not in item.path.parents)


def pytest_collection_finish() -> None:
    """Leave modules and tests out of garbage collections, a fifth of the processor time otherwise."""
    gc.collect()
    gc.freeze()


class _ByFile(LoadScopeScheduling):
    """Scheduler for ``-n 2``: tests of the one real Airflow in one process, other files in the second.

    Those that start an Airflow of their own are among the other files.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        shares = f"/{REAL_AIRFLOW.name}/" in file and not file.endswith(OF_THEIR_OWN)
        return REAL_AIRFLOW.name if shares else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _ByFile:
    return _ByFile(config, log)
