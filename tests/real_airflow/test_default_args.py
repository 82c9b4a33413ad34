"""A DAG with hostile default_args: all messages are recalled by the right app, with one alert."""

from __future__ import annotations

import pytest

from tests.real_airflow.fixtures import DagRun, Environment, classes


@pytest.fixture(scope="module")
def run(environment: Environment) -> DagRun:
    environment.dingtalk.empty()
    return environment.trigger_and_wait("real_hostile_defaults")


def texts(environment: Environment) -> dict[str, str]:
    return {key: message["text"] for key, message in environment.dingtalk.messages().items()}


def test_everything_is_taken_back_with_the_connection_of_the_sends(run: DagRun, environment: Environment):
    states = run.states()
    assert (run.state, states["send"], states["work"]) == ("failed", "success", "failed")
    assert (states["rollback"], states["rollback_watcher"]) == ("success", "failed")
    wrong = {key for key, text in texts(environment).items() if text == "wrong"}
    assert len(wrong) == 1
    assert classes(run.report("rollback"))["recalled"] == wrong == environment.dingtalk.gone()
    assert run.xcom("rollback")["counts"]["recalled"] == 1
    assert run.tries()["rollback"] == 1


def test_there_is_one_alert_and_it_names_the_task_that_failed(run: DagRun, environment: Environment):
    assert [text for text in texts(environment).values() if text.startswith("Alert")] == ["Alert: work"]


def test_the_rollback_makes_no_event_of_the_data_of_the_dag(run: DagRun, environment: Environment):
    events = environment.airflow.get("/assets/events", source_dag_id=run.dag_id, limit=100)["asset_events"]
    from_ours = {event["source_task_id"] for event in events if event["uri"] == "real_hostile_table"}
    assert from_ours == {"send", "last"}
