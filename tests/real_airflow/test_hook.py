"""The hook in tasks of one's own, connections as JSON and as URI, and recalls with nothing to do."""

from __future__ import annotations

import json

import pytest

from tests.real_airflow.fixtures import VERSION, DagRun, Environment, classes, keys_of_receipt
from tests.real_airflow.vault import SECRET


@pytest.fixture(scope="module")
def run(environment: Environment) -> DagRun:
    environment.dingtalk.empty()
    return environment.trigger_and_wait("real_hook")


def recalled(done: dict, environment: Environment) -> bool:
    """Return True if report and sandbox agree that all messages of a task are recalled."""
    keys = [keys_of_receipt(receipt) for receipt in done["receipts"]]
    return classes(done["report"])["recalled"] == set(keys) == environment.dingtalk.gone(keys) and bool(keys)


def test_a_task_sends_asks_and_recalls_through_the_hook(run: DagRun, environment: Environment):
    done = run.xcom("sync")
    assert recalled(done, environment)
    assert done["before"] == ["SUCCESS", "SUCCESS"]
    assert done["after"] == ["RECALLED", "RECALLED"]


def test_a_task_with_a_loop_of_its_own_finds_a_connection_of_the_database(environment: Environment):
    given = environment.dingtalk.server.connection() | {"password": SECRET}
    extra = json.dumps(given["extra"])
    environment.airflow.post("/connections", {**given, "connection_id": "dingtalk_in_database", "extra": extra})
    try:
        done = environment.trigger_and_wait("real_hook_on_own_loop").xcom("own_loop")
    finally:
        # The database may hold its password; the sweep for secrets looks at all that is left.
        environment.airflow.delete("/connections/dingtalk_in_database")
    assert recalled(done, environment)


def test_an_async_task_sends_asks_and_recalls_through_the_hook_by_a_uri_connection(
    run: DagRun, environment: Environment
):
    done = run.xcom("asynchronous")
    if VERSION < (3, 2):
        assert done is None, "Airflow 3.1 runs no async task"
        return
    assert recalled(done, environment)
    assert done["before"] == ["SUCCESS"]


def test_a_connection_given_as_a_uri_is_as_good_as_json(run: DagRun, environment: Environment):
    done = run.xcom("by_uri")
    assert done["ok"] is True
    assert done["told"].startswith("Got an access token")
    assert recalled(done, environment)


@pytest.mark.parametrize(("choice", "state"), [("succeed", "success"), ("skip", "skipped"), ("fail", "failed")])
def test_nothing_to_recall_ends_as_on_empty_says(run: DagRun, choice: str, state: str):
    task = f"on_empty_{choice}"
    assert run.states()[task] == state
    assert run.tries()[task] == 1
    assert run.report(task)["counts"]["total"] == 0


def test_a_secret_that_somebody_logs_is_masked(run: DagRun, environment: Environment):
    assert run.states()["indiscreet"] == "success"
    assert "The secret is ***, the token is ***." in run.log("indiscreet")
    assert environment.dingtalk.server.state.tokens
