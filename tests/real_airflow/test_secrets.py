"""After all other scenarios: nothing that Airflow wrote anywhere holds a secret."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from airflow_provider_dingtalk.sandbox.default import CLIENT_ID, CLIENT_SECRET
from demo.airflow_stack import AirflowStack
from tests.real_airflow.stage import Run, Stage

#: The task of ``real_hook`` that logs secrets.
INDISCREET = "indiscreet"
#: Tables in which the sweep must have found something, or it looked in the wrong place.
MUST_HOLD = {"xcom", "rendered_task_instance_fields", "task_instance", "serialized_dag"}


def rows(stack: AirflowStack) -> Iterator[tuple[str, str]]:
    """Every row of Airflow's database as text: XComs, rendered fields, triggers, log events and all else."""
    database = sqlite3.connect(f"file:{stack.home}/airflow.db?mode=ro", uri=True)
    try:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            for row in database.execute(f'SELECT * FROM "{name}"'):
                yield name, repr(row)
    finally:
        database.close()


def files(stack: AirflowStack) -> Iterator[tuple[str, str]]:
    """Every log, of tasks and of Airflow's own processes."""
    for file in stack.home.rglob("*.log"):
        lines = file.read_text(errors="replace").splitlines()
        if file.parent == stack.home:
            # Airflow 3.3.2 repeats what tasks log on the standard output of its LocalExecutor, and masks nothing
            # there, not even a connection's password. One task logs secrets on purpose; all others stand the test.
            lines = [line for line in lines if f"task_id={INDISCREET} " not in line]
        yield str(file.relative_to(stack.home)), "\n".join(lines)


@pytest.fixture(scope="module")
def run(stage: Stage) -> Run:
    """Something to find, if nothing ran before: messages of every kind, sent and taken back."""
    return stage.play("real_hook")


@pytest.fixture(scope="module")
def secrets(run: Run, stage: Stage) -> set[str]:
    """The client secret and every token that was ever given out, in the forms they may be written in."""
    assert stage.dingtalk.tokens
    plain = {CLIENT_SECRET, *stage.dingtalk.tokens}
    return plain | {quote(secret, safe="") for secret in plain}


def test_no_log_holds_a_secret(secrets: set[str], stack: AirflowStack):
    found = dict(files(stack))
    assert any("The secret is ***" in text for text in found.values()), "the logs of tasks are among them"
    assert {name for name, text in found.items() if any(secret in text for secret in secrets)} == set()


def test_no_xcom_no_rendered_field_and_no_other_row_holds_a_secret(secrets: set[str], stack: AirflowStack):
    found = list(rows(stack))
    assert {name for name, _ in found} >= MUST_HOLD
    assert any(CLIENT_ID in row for name, row in found if name == "xcom"), "receipts are among them"
    assert {name for name, row in found if any(secret in row for secret in secrets)} == set()


def test_no_xcom_that_the_api_shows_holds_a_secret(secrets: set[str], run: Run, stage: Stage):
    shown = [run.xcom(task) for task in run.states()]
    assert any(CLIENT_ID in str(value) for value in shown)
    assert not [value for value in shown if any(secret in str(value) for secret in secrets)]
