"""Every example DAG does what its first line says."""

from __future__ import annotations

import json

import pytest

from tests.real_airflow.fixtures import RECALL_API, TOKEN_API, DagRun, Environment, classes, keys_of_receipt

ONE_BY_ONE = {kind: f"dingtalk_recall_{kind}" for kind in ("private_chat_messages", "work_notification", "ding")}
CANTEEN = "dingtalk_canteen_receipts"


@pytest.fixture(scope="module")
def runs(environment: Environment) -> dict[str, DagRun]:
    """Runs of all example DAGs except the rollback, in parallel."""
    environment.dingtalk.empty()
    noon = environment.dingtalk.create_messages("oto", 3, age_seconds=7 * 3600, text="The canteen is open.")
    receipts = [{"kind": "oto", "robot_code": "dingsandbox", "process_query_key": key} for key in noon]
    environment.airflow.post("/variables", {"key": CANTEEN, "value": json.dumps(receipts)})
    names = [
        "dingtalk_wait_until_read",
        "dingtalk_scheduled_recall",
        "dingtalk_recall_group_messages",
        "dingtalk_recall_oto_messages",
        *ONE_BY_ONE.values(),
    ]
    begun = {name: environment.trigger(name) for name in names}
    waiting = begun["dingtalk_wait_until_read"]
    waiting.wait_until_deferred("wait_until_read")
    assert waiting.states()["go"] is None
    environment.dingtalk.read_by(waiting.keys("ask")[0], "user007", "user008")
    return {name: run.wait() for name, run in begun.items()}


@pytest.mark.parametrize("dag_id", ONE_BY_ONE.values())
def test_a_message_that_was_sent_is_taken_back(runs: dict[str, DagRun], environment: Environment, dag_id: str):
    run = runs[dag_id]
    assert run.state == "success"
    assert run.states() == {"send": "success", "recall": "success"}
    (key,) = run.keys("send")
    assert classes(run.report("recall"))["recalled"] == {key} == environment.dingtalk.gone([key])
    assert run.report("recall") == run.xcom("recall")


def test_mapped_group_sends_are_taken_back_by_their_nested_receipts(runs: dict[str, DagRun], environment: Environment):
    run = runs["dingtalk_recall_group_messages"]
    assert run.state == "success"
    assert run.states() == {f"send[{index}]": "success" for index in range(3)} | {"recall": "success"}
    receipts = [run.xcom("send", map_index=index) for index in range(3)]
    assert [len(some) for some in receipts] == [1, 1, 1]
    keys = {keys_of_receipt(some[0]) for some in receipts}
    assert classes(run.report("recall"))["recalled"] == keys == environment.dingtalk.gone([*keys])
    assert len(keys) == 3


def test_one_person_s_message_is_taken_back_alone(runs: dict[str, DagRun], environment: Environment):
    run = runs["dingtalk_recall_oto_messages"]
    assert run.state == "success"
    first, second = run.keys("send")
    assert classes(run.report("recall"))["recalled"] == {second} == environment.dingtalk.gone([first, second])


def test_a_scheduled_recall_takes_back_what_a_variable_names(runs: dict[str, DagRun], environment: Environment):
    run = runs["dingtalk_scheduled_recall"]
    assert run.state == "success"
    assert run.states() == {"receipts_of_this_morning": "success", "recall": "success"}
    keys = {
        key for key, message in environment.dingtalk.messages().items() if message["text"] == "The canteen is open."
    }
    assert classes(run.report("recall"))["recalled"] == keys == environment.dingtalk.gone([*keys])
    assert len(keys) == 3


def test_a_scheduled_recall_schedules_itself_for_evenings_in_shanghai(
    runs: dict[str, DagRun], environment: Environment
):
    dag = environment.airflow.get("/dags/dingtalk_scheduled_recall")
    assert dag["timetable_summary"] == "0 18 * * 1-5"
    assert dag["next_dagrun_logical_date"].endswith("T10:00:00Z")


def test_a_message_waits_in_the_triggerer_until_two_people_read_the_one_before(
    runs: dict[str, DagRun], environment: Environment
):
    run = runs["dingtalk_wait_until_read"]
    assert run.state == "success"
    assert run.states() == {"ask": "success", "wait_until_read": "success", "go": "success"}
    (key,) = run.keys("ask")
    assert run.xcom("wait_until_read") == [{"key": key, "send_status": "SUCCESS", "readers": 2}]
    texts = [m["text"] for m in environment.dingtalk.messages().values() if m["text"].startswith("No objections")]
    assert len(texts) == 1


def test_a_failed_check_takes_back_messages_of_every_kind_and_fails_the_run(environment: Environment):
    environment.dingtalk.empty()
    run = environment.trigger_and_wait("dingtalk_rollback_on_failure")
    assert run.state == "failed"
    states = run.states()
    assert {task: state for task, state in states.items() if state != "success"} == {
        "check_the_numbers": "failed",
        "rollback_watcher": "failed",
    }
    assert states["rollback"] == "success"
    sent = {"group": 3, "oto": 45, "private_chat": 1, "work_notification": 1, "ding": 1}
    assert environment.dingtalk.counts() == {
        kind: {"sent": number, "recalled": number, "visible": 0} for kind, number in sent.items()
    }
    report = run.report("rollback")
    assert classes(report)["recalled"] == set(environment.dingtalk.messages())
    assert report["counts"] == {
        "recalled": 51,
        "failed": 0,
        "expired": 0,
        "unknown": 0,
        "total": 51,
        "duplicates": 0,
    }
    assert environment.dingtalk.recall_calls() == {
        "group": 3,
        "oto": 3,
        "private_chat": 1,
        "work_notification": 1,
        "ding": 1,
    }
    assert report["api_calls"] == {"recall": 9, "token": 1, "total": 10}
    # Five tasks sent and one recalled, each in its own process.
    assert environment.dingtalk.calls()[TOKEN_API] == 6


def test_a_good_check_leaves_the_messages_and_the_rollback_keeps_them(environment: Environment):
    environment.dingtalk.empty()
    run = environment.trigger_and_wait("dingtalk_rollback_on_failure", revenue=7)
    assert run.state == "success"
    states = run.states()
    assert set(states.values()) == {"success"}
    assert run.xcom("rollback") == {"kept": 51}
    assert run.report("rollback") is None
    assert environment.dingtalk.gone() == set()
    assert environment.dingtalk.counts()["oto"]["visible"] == 45
    assert not set(environment.dingtalk.calls()) & set(RECALL_API.values())
    assert environment.dingtalk.calls()[TOKEN_API] == 5
