"""The stack that everything here stands on is real Airflow, and nothing of it is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dev import processes
from dev.airflow_stack import COMPONENTS, AirflowStack
from dev.processes import Process, stop_all

ROOT = Path(__file__).parents[2]
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

    plain(Wait(task_id="waits").output)


trivial()
"""
#: Program that starts another one; both ignore SIGTERM.
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.fork(), flush=True)
time.sleep(300)
"""
#: A program that starts another one, given as text, and does not stop it.
PARENT = """
import os, pathlib, sys, time
from dev.processes import Process
process = Process("stubborn", [sys.executable, "-c", sys.argv[1]], os.environ, pathlib.Path(sys.argv[2]))
print(process.pid, flush=True)
time.sleep(300)
"""


def eventually(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return met


@pytest.fixture(scope="module")
def trivial_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:
    dags = tmp_path_factory.mktemp("trivial")
    (dags / "trivial.py").write_text(DAG)
    with AirflowStack(dags) as stack:
        stack.wait_for_dag("trivial")
        yield stack


def test_a_run_goes_through_every_component(trivial_stack):
    seen = set()
    run_id = trivial_stack.api.trigger("trivial", {"key": ["value"]})
    state = trivial_stack.api.wait_run("trivial", run_id, progress=lambda states: seen.update(states.values()))
    assert state == "success"
    assert "deferred" in seen
    assert trivial_stack.api.xcom("trivial", run_id, "plain") == {"waited": "resumed", "conf": {"key": ["value"]}}
    assert "hello from a worker" in trivial_stack.api.task_log("trivial", run_id, "plain")
    assert trivial_stack.api.import_errors() == []


def test_its_components_are_separate_processes(trivial_stack):
    assert len({process.pid for process in trivial_stack.processes.values()}) == len(COMPONENTS)
    assert all(process.members() for process in trivial_stack.processes.values())


def test_nothing_is_left_of_it(trivial_stack):
    trivial_stack.stop()
    assert not any(process.members() for process in trivial_stack.processes.values())
    assert not trivial_stack.home.exists()


def start_stubborn(folder: Path) -> Process:
    process = Process("stubborn", [sys.executable, "-c", STUBBORN], os.environ, folder / "log")
    assert eventually(lambda: len(process.members()) == 2)
    assert eventually(lambda: bool(process.log.read_text()))
    return process


def test_what_does_not_end_is_killed_with_all_that_it_started(tmp_path):
    process = start_stubborn(tmp_path)
    stop_all([process], grace=0.2)
    assert process.members() == []


def test_a_dead_component_is_told_with_its_last_words(tmp_path):
    process = Process("brief", [sys.executable, "-c", "print('last words')"], os.environ, tmp_path / "log")
    with pytest.raises(RuntimeError, match="last words"):  # noqa: PT012 -- it dies when it dies
        for _ in range(200):
            process.raise_if_dead()
            time.sleep(0.05)
    stop_all([process])


def test_a_killed_parent_leaves_nothing(tmp_path):
    """After SIGKILL of the parent only the watchdog can clean up."""
    command = [sys.executable, "-c", PARENT, STUBBORN, str(tmp_path / "log")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        session = int(parent.stdout.readline())
        assert eventually(lambda: len(processes._members({session})) == 2)
        parent.send_signal(signal.SIGKILL)
    assert eventually(lambda: not processes._members({session}), seconds=processes.GRACE + 10)
