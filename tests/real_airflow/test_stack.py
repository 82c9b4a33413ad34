"""The stack that everything here stands on is real Airflow, and nothing of it is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.airflow_stack import COMPONENTS, AirflowStack
from tests.real_airflow.fixtures import wait_until

DAG = """
from datetime import timedelta

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import BaseOperator, dag, task


class Wait(BaseOperator):
    def execute(self, context):
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=5)), method_name="resumed")

    def resumed(self, context, event):
        return "resumed"


@dag(schedule=None)
def trivial():
    @task
    def plain(waited, dag_run=None):
        print("hello from a worker")
        return {"waited": waited, "conf": dag_run.conf}

    # On a busy machine Airflow failed the first try now and then, before any of its own code was compiled.
    plain(Wait(task_id="waits", retries=2, retry_delay=timedelta(0)).output)


trivial()
"""
# A file whose first parse gives no DAG, as if Airflow had lost it.
LOST = """
from pathlib import Path

from airflow.sdk import DAG

found = Path(__file__).with_suffix(".found")
if not found.exists():
    Path(__file__).with_suffix(".parsed").touch()
else:
    lost = DAG("lost", schedule=None)
"""


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trivial")


@pytest.fixture(scope="module")
def trivial_stack(dags: Path) -> Iterator[AirflowStack]:
    (dags / "trivial.py").write_text(DAG)
    (dags / "lost.py").write_text(LOST)
    with AirflowStack(dags, {"AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600"}) as stack:
        stack.wait_for_dag("trivial")
        yield stack


def _told(stack: AirflowStack, run_id: str) -> str:
    """Return the states and logs of the run's tasks, and what the components logged last."""
    states = stack.api.task_states("trivial", run_id)
    logs = [stack.api.task_log("trivial", run_id, task_id) for task_id, state in states.items() if state == "failed"]
    return "\n".join([str(states), *logs, stack.logs()])


def test_a_run_goes_through_every_component(trivial_stack):
    seen = set()
    run_id = trivial_stack.api.trigger("trivial", {"key": ["value"]})
    state = trivial_stack.api.wait_run("trivial", run_id, progress=lambda states: seen.update(states.values()))
    assert state == "success", _told(trivial_stack, run_id)
    assert "deferred" in seen
    assert trivial_stack.api.xcom("trivial", run_id, "plain") == {"waited": "resumed", "conf": {"key": ["value"]}}
    assert "hello from a worker" in trivial_stack.api.task_log("trivial", run_id, "plain")
    assert trivial_stack.api.import_errors() == []


def test_its_components_are_separate_processes(trivial_stack):
    assert len({process.pid for process in trivial_stack.processes.values()}) == len(COMPONENTS)
    assert all(process.members() for process in trivial_stack.processes.values())


def test_a_dag_that_airflow_lost_is_parsed_again(trivial_stack, dags):
    wait_until("the file is parsed", (dags / "lost.parsed").exists)
    (dags / "lost.found").touch()
    trivial_stack.wait_for_dag("lost", timeout=60, parse_again=5)


def test_nothing_is_left_of_it(trivial_stack):
    trivial_stack.stop()
    assert not any(process.members() for process in trivial_stack.processes.values())
    assert not trivial_stack.home.exists()
