"""Messages of several connections in one block: each is recalled by the connection that sent it."""

from __future__ import annotations

import pytest

from tests.real_airflow.fixtures import DagRun, Environment, classes

SENDS = ("send_default", "send_other", "send_by_uri")


LOST = "key-of-a-deleted-connection"


@pytest.fixture(scope="module")
def runs(environment: Environment) -> tuple[DagRun, DagRun]:
    """Two runs side by side; in the second one a connection is gone."""
    environment.dingtalk.empty()
    begun = (
        environment.trigger("real_rollback_connections"),
        environment.trigger("real_rollback_connections", lost=LOST),
    )
    return begun[0].wait(), begun[1].wait()


def keys_of(run: DagRun) -> set[str]:
    keys = {key for task_id in SENDS for key in run.keys(task_id)}
    assert len(keys) == 3
    return keys


def test_a_rollback_takes_back_what_each_connection_sent(runs: tuple[DagRun, DagRun], environment: Environment):
    run = runs[0]
    assert {run.xcom(task_id)[0]["conn_id"] for task_id in SENDS} == {
        "dingtalk_default",
        "dingtalk_other",
        "dingtalk_by_uri",
    }
    assert keys_of(run) <= environment.dingtalk.gone()
    assert classes(run.report("rollback"))["recalled"] == keys_of(run)
    assert (run.state, run.states()["rollback"]) == ("failed", "success")


def test_a_connection_that_is_gone_costs_only_its_own_messages(runs: tuple[DagRun, DagRun], environment: Environment):
    run = runs[1]
    assert keys_of(run) <= environment.dingtalk.gone()
    report = run.report("rollback")
    assert classes(report) == {"recalled": keys_of(run), "failed": {LOST}, "expired": set(), "unknown": set()}
    assert "dingtalk_deleted" in report["failed"][LOST]["message"]
    assert (run.state, run.states()["rollback"]) == ("failed", "failed")
