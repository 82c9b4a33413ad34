"""Fixtures: one Airflow and one sandbox for all scenarios, because Airflow starts slowly."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from airflow_provider_dingtalk.sandbox.behaviour import Behaviour
from airflow_provider_dingtalk.sandbox.default import (
    AGENT_ID,
    CLIENT_ID,
    CORP_ID,
    OTHER_AGENT_ID,
    OTHER_CLIENT_ID,
    OTHER_CLIENT_SECRET,
    OTHER_ROBOT_CODE,
    ROBOT_CODE,
    SUITE_KEY,
    SUITE_ROBOT_CODE,
)
from airflow_provider_dingtalk.sandbox.testing import connection_to, running_sandbox
from dev.airflow_stack import AirflowStack
from tests.real_airflow.fixtures import VERSION, DingTalk, Environment
from tests.real_airflow.metrics import Metrics
from tests.real_airflow.vault import MISTYPED, SECRET, SUITE, TICKET, Vault

HERE = Path(__file__).parent
#: Before 3.2 an ApprovalOperator requires a default of each DAG parameter, and the form's reason has none.
NEEDS_3_2 = {"dingtalk_incident_rollback.py"}
collect_ignore = ["test_incident.py", "test_incident_texts.py"] if VERSION < (3, 2) else []
#: Before 3.2 Airflow's supervisor ends if it cannot connect; before 3.3 a recall writes nothing between its calls.
collect_ignore += ["test_outage.py"] if VERSION < (3, 3) else []
EXAMPLES = HERE.parents[1] / "example_dags"
#: Order of test files. Tests of everything written run last. Tests that start an Airflow of their own run first, or in
#: the second process of ``-n 2``, which gets what comes after the shared Airflow.
OWN = 2 if "PYTEST_XDIST_WORKER" in os.environ else -1
ORDER = {"test_demo.py": OWN, "test_stack.py": OWN, "test_up.py": OWN, "test_secrets.py": 1}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = [place for place, item in enumerate(items) if HERE in item.path.parents]
    ours = sorted((items[place] for place in places), key=lambda item: ORDER.get(item.path.name, 0))
    for place, item in zip(places, ours, strict=True):
        item.add_marker(pytest.mark.real_airflow)
        items[place] = item


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the ends of the logs of failed tasks to the report of a failed test."""
    report = yield
    environment = getattr(item, "funcargs", {}).get("environment")
    if report.failed and isinstance(environment, Environment):
        try:
            report.sections.append(("failed tasks", environment.ends_of_logs()))
        except (httpx.HTTPError, LookupError, RuntimeError) as error:
            report.sections.append(("failed tasks", f"Their logs cannot be read: {error!r}"))
    return report


@pytest.fixture(scope="package")
def dingtalk() -> Iterator[DingTalk]:
    """The shared sandbox, without a rate limit unless a scenario sets one."""
    with running_sandbox(Vault(Behaviour(calls_per_second=0))) as server:
        yield DingTalk(server)


@pytest.fixture(scope="package")
def metrics() -> Iterator[Metrics]:
    """Collector of all metrics that Airflow sends."""
    with Metrics() as metrics:
        yield metrics


@pytest.fixture(scope="package")
def dag_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The DAGs of the examples and ours, in one folder."""
    folder = tmp_path_factory.mktemp("dags")
    for file in (*EXAMPLES.glob("*.py"), *(HERE / "dags").glob("*.py")):
        if VERSION >= (3, 2) or file.name not in NEEDS_3_2:
            shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="package")
def stack(dingtalk: DingTalk, metrics: Metrics, dag_folder: Path) -> Iterator[AirflowStack]:
    """The shared Airflow with all DAGs parsed. It logs at DEBUG, and a secret scan reads the logs."""
    env = {
        **{f"AIRFLOW_CONN_{name}": value for name, value in _connections(dingtalk.server.url).items()},
        "AIRFLOW_VAR_DINGTALK_TICKET": TICKET,
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        **metrics.env,
        # Not UTC and not this machine's zone, so tests notice where a time without a zone is read as one of these.
        "AIRFLOW__CORE__DEFAULT_TIMEZONE": "Asia/Shanghai",
        # The DAGs do not change, so the dag-processor need not parse them again.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3600",
        # A new asset is listed after the next clean-up.
        "AIRFLOW__SCHEDULER__PARSING_CLEANUP_INTERVAL": "5",
        # Each sensor in poke mode holds a worker.
        "AIRFLOW__CORE__PARALLELISM": "8",
    }
    made = AirflowStack(dag_folder, env)
    (made.home / "config").mkdir()
    shutil.copy(HERE / "airflow_local_settings.py", made.home / "config")
    with made as running:
        # Each file is named after its only DAG.
        for file in dag_folder.glob("*.py"):
            running.wait_for_dag(file.stem)
        yield running


def _connections(url: str) -> dict[str, str]:
    """Connections by name, as JSON and as URI."""
    usual = connection_to(url) | {"password": SECRET}
    usual["extra"]["calls_per_second"] = 0
    suite = {"app_type": "third_party", "corp_id": CORP_ID, "suite_ticket_secret": "variable:dingtalk_ticket"}
    bare = url.removeprefix("http://")
    return {
        "DINGTALK_DEFAULT": json.dumps(usual),
        "DINGTALK_BY_URI": (
            f"dingtalk://{CLIENT_ID}:{quote(SECRET, safe='')}@{bare}/?robot_code={ROBOT_CODE}&agent_id={AGENT_ID}"
        ),
        "DINGTALK_THIRD_PARTY": json.dumps(
            usual | {"login": SUITE_KEY, "password": SUITE, "extra": {**suite, "robot_code": SUITE_ROBOT_CODE}}
        ),
        "DINGTALK_OTHER": json.dumps(
            usual
            | {
                "login": OTHER_CLIENT_ID,
                "password": OTHER_CLIENT_SECRET,
                "extra": {"robot_code": OTHER_ROBOT_CODE, "agent_id": str(OTHER_AGENT_ID)},
            }
        ),
        "DINGTALK_MISTYPED": json.dumps(usual | {"password": MISTYPED}),
        "DINGTALK_WITHOUT_SECRET": json.dumps(usual | {"password": ""}),
        "DINGTALK_WITHOUT_ROBOT": json.dumps(usual | {"extra": {}}),
    }


@pytest.fixture(scope="module")
def environment(stack: AirflowStack, dingtalk: DingTalk) -> Environment:
    """Airflow and an empty sandbox."""
    dingtalk.empty()
    return Environment(stack, dingtalk)
