"""One Airflow and one DingTalk for all scenarios here: starting Airflow costs more than any of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_dingtalk.sandbox.behaviour import Behaviour
from airflow_provider_dingtalk.sandbox.default import AGENT_ID, CLIENT_ID, CLIENT_SECRET, ROBOT_CODE, default_world
from airflow_provider_dingtalk.sandbox.testing import connection_to, running_sandbox
from demo.airflow_stack import AirflowStack
from tests.real_airflow.stage import DingTalk, Stage

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "example_dags"
#: What starts an Airflow of its own comes before ours is there, what looks at all that is left behind comes last.
ORDER = {"test_stack.py": -1, "test_secrets.py": 1}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = [place for place, item in enumerate(items) if HERE in item.path.parents]
    ours = sorted((items[place] for place in places), key=lambda item: ORDER.get(item.path.name, 0))
    for place, item in zip(places, ours, strict=True):
        item.add_marker(pytest.mark.real_airflow)
        items[place] = item


@pytest.fixture(scope="session")
def dingtalk() -> Iterator[DingTalk]:
    """The shared sandbox; nothing is throttled unless a scenario asks for it."""
    with running_sandbox(default_world(behaviour=Behaviour(calls_per_second=0))) as server:
        yield DingTalk(server)


@pytest.fixture(scope="session")
def dag_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The DAGs of the examples and ours, in one folder."""
    folder = tmp_path_factory.mktemp("dags")
    for file in (*EXAMPLES.glob("*.py"), *(HERE / "dags").glob("*.py")):
        shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="session")
def stack(dingtalk: DingTalk, dag_folder: Path) -> Iterator[AirflowStack]:
    """The shared Airflow, with all DAGs read."""
    env = {
        **{f"AIRFLOW_CONN_{name}": value for name, value in _connections(dingtalk.server.url).items()},
        # Nobody edits the DAGs meanwhile.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3600",
        # Sensors that poke hold a worker each.
        "AIRFLOW__CORE__PARALLELISM": "8",
    }
    with AirflowStack(dag_folder, env) as running:
        # Each file is named after its only DAG.
        for file in dag_folder.glob("*.py"):
            running.wait_for_dag(file.stem)
        yield running


def _connections(url: str) -> dict[str, str]:
    """Connections by name, as JSON and as URI."""
    usual = connection_to(url)
    usual["extra"]["calls_per_second"] = 0
    bare = url.removeprefix("http://")
    return {
        "DINGTALK_DEFAULT": json.dumps(usual),
        "DINGTALK_BY_URI": (
            f"dingtalk://{CLIENT_ID}:{CLIENT_SECRET}@{bare}/?robot_code={ROBOT_CODE}&agent_id={AGENT_ID}"
        ),
        "DINGTALK_WITHOUT_SECRET": json.dumps(usual | {"password": ""}),
        "DINGTALK_WITHOUT_ROBOT": json.dumps(usual | {"extra": {}}),
    }


@pytest.fixture(scope="module")
def stage(stack: AirflowStack, dingtalk: DingTalk) -> Stage:
    """Airflow, and a DingTalk in which nothing happened yet."""
    dingtalk.empty()
    return Stage(stack, dingtalk)
