"""Messages of several connections in one block: each is recalled by the connection that sent it."""

from __future__ import annotations

from tests.real_airflow.stage import Stage, classes

SENDS = ("send_default", "send_other", "send_by_uri")


def test_a_rollback_takes_back_what_each_connection_sent(stage: Stage):
    run = stage.play("real_rollback_connections")
    keys = {key for task_id in SENDS for key in run.keys(task_id)}
    assert len(keys) == 3
    assert {run.xcom(task_id)[0]["conn_id"] for task_id in SENDS} == {
        "dingtalk_default",
        "dingtalk_other",
        "dingtalk_by_uri",
    }
    assert stage.dingtalk.gone(list(keys)) == keys
    assert classes(run.report("rollback"))["recalled"] == keys
    assert (run.state, run.states()["rollback"]) == ("failed", "success")


def test_a_connection_that_is_gone_costs_only_its_own_messages(stage: Stage):
    [lost] = stage.dingtalk.plant("group")
    run = stage.play("real_rollback_connections", lost=lost)
    keys = {key for task_id in SENDS for key in run.keys(task_id)}
    assert len(keys) == 3
    assert stage.dingtalk.gone([*keys, lost]) == keys
    report = run.report("rollback")
    assert classes(report) == {"recalled": keys, "failed": {lost}, "expired": set(), "unknown": set()}
    assert "dingtalk_deleted" in report["failed"][lost]["message"]
    assert (run.state, run.states()["rollback"]) == ("failed", "failed")
