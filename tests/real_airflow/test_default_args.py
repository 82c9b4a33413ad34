"""A DAG with hostile default_args: all messages are recalled by the right app, with one alert."""

from __future__ import annotations

import pytest

from tests.real_airflow.fixtures import Run, Stage, classes


@pytest.fixture(scope="module")
def run(stage: Stage) -> Run:
    stage.dingtalk.empty()
    return stage.play("real_hostile_defaults")


def texts(stage: Stage) -> dict[str, str]:
    return {key: message["text"] for key, message in stage.dingtalk.messages().items()}


def test_everything_is_taken_back_with_the_connection_of_the_sends(run: Run, stage: Stage):
    states = run.states()
    assert (run.state, states["send"], states["work"]) == ("failed", "success", "failed")
    assert (states["rollback"], states["rollback_watcher"]) == ("success", "failed")
    wrong = {key for key, text in texts(stage).items() if text == "wrong"}
    assert len(wrong) == 1
    assert classes(run.report("rollback"))["recalled"] == wrong == stage.dingtalk.gone()
    assert run.xcom("rollback")["counts"]["recalled"] == 1
    assert run.tries()["rollback"] == 1


def test_there_is_one_alert_and_it_names_the_task_that_failed(run: Run, stage: Stage):
    assert [text for text in texts(stage).values() if text.startswith("Alert")] == ["Alert: work"]


def test_the_rollback_makes_no_event_of_the_data_of_the_dag(run: Run, stage: Stage):
    events = stage.airflow.get("/assets/events", source_dag_id=run.dag_id, limit=100)["asset_events"]
    from_ours = {event["source_task_id"] for event in events if event["uri"] == "real_hostile_table"}
    assert from_ours == {"send", "last"}
