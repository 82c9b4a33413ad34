"""The incident DAG by REST: form, dry run, approval, recall, message to a group."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.real_airflow.fixtures import (
    RECALL_API,
    VERSION,
    DagRun,
    Environment,
    classes,
    codes,
    keys_of_receipt,
    wait_until,
)

DAG, SENDS = "dingtalk_incident_rollback", "dingtalk_rollback_on_failure"
WHY = "The figures were those of last year."
GROUP = {"kind": "group", "open_conversation_id": "cidgroup1"}


def submit(environment: Environment, **form: Any) -> DagRun:
    """Submit the form; Airflow adds the defaults of empty fields."""
    return DagRun(environment.stack, DAG, environment.airflow.trigger(DAG, {"reason": WHY, **form}))


def asked(run: DagRun) -> dict[str, Any]:
    """Wait for the approval request and return it."""
    _wait_for_the_question(run)
    return run.airflow.get(_hitl(run))


def answer(run: DagRun, option: str) -> DagRun:
    """Approve or reject, as the buttons in Airflow's UI do."""
    _wait_for_the_question(run)
    run.wait_until_noted("approve")
    run.airflow.patch(_hitl(run), {"chosen_options": [option], "params_input": {}})
    return run


def _wait_for_the_question(run: DagRun) -> None:
    under_way = (None, "scheduled", "queued", "running")
    wait_until("approve is no longer under way", lambda: run.states()["approve"] not in under_way)
    # Before 3.3 an approval waits in the triggerer.
    assert run.states()["approve"] == ("awaiting_input" if VERSION >= (3, 3) else "deferred")


def _hitl(run: DagRun) -> str:
    return f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/approve/-1/hitlDetails"


def numbers(body: str) -> dict[str, int]:
    """Return the table of the approval request as numbers by kind."""
    rows = re.findall(r"^\| \**([^|*]+?)\** \| \**(\d+)\** \|$", body, re.MULTILINE)
    return {name: int(number) for name, number in rows}


def keys_sent(run: DagRun) -> set[str]:
    """Return the keys of all messages of a run of the sends."""
    mapped = [run.xcom("send", map_index=index) or [] for index in range(3)]
    return {keys_of_receipt(receipt) for some in [*mapped, run.xcom("send_to_people")] for receipt in some}


def texts_in(environment: Environment, group: str) -> list[str]:
    """Return the texts in a group, without those that tests created."""
    messages = environment.dingtalk.messages().values()
    return [m["text"] for m in messages if m["open_conversation_id"] == group and m["recalled_at"] is None]


# A run in which half of the sends failed, and another run that must not change.


@pytest.fixture(scope="module")
def sends(environment: Environment) -> list[DagRun]:
    environment.dingtalk.empty()
    begun = [environment.trigger("real_incident_sends") for _ in range(2)]
    return [run.wait() for run in begun]


@pytest.fixture(scope="module")
def incident(sends: list[DagRun], environment: Environment) -> DagRun:
    bad, _ = sends
    assert bad.state == "failed"
    return submit(environment, dag_id=bad.dag_id, run_id=bad.run_id, correction_group="cidgroup2")


def test_it_asks_before_anything_is_gone_and_says_how_many(incident: DagRun, environment: Environment):
    question = asked(incident)
    assert question["subject"] == "Take back 47 DingTalk messages?"
    assert numbers(question["body"]) == {"group messages": 2, "one-on-one messages": 45, "in all": 47}
    assert WHY in question["body"]
    assert question["options"] == ["Approve", "Reject"]
    assert environment.dingtalk.gone() == set()
    assert not set(environment.dingtalk.calls()) & set(RECALL_API.values())


def test_approved_exactly_the_messages_of_the_run_are_gone(
    incident: DagRun, sends: list[DagRun], environment: Environment
):
    answer(incident, "Approve").wait()
    bad, other = sends
    assert incident.state == "success"
    assert environment.dingtalk.gone() == keys_sent(bad) == classes(incident.report("recall"))["recalled"]
    assert len(keys_sent(bad)) == 47 == len(keys_sent(other))
    assert environment.dingtalk.gone([*keys_sent(other)]) == set()


def test_what_was_recalled_is_what_was_counted(incident: DagRun):
    counts = incident.report("recall")["counts"]
    assert counts["recalled"] == counts["total"] == incident.xcom("dry_run")["counts"]["total"]


def test_the_group_is_told(incident: DagRun, environment: Environment):
    assert incident.states()["tell"] == "success"
    (text,) = texts_in(environment, "cidgroup2")
    assert "47 of 47 messages were taken back" in text
    assert WHY in text
    assert "failed" not in text


def test_once_more_the_run_can_be_asked_for_and_it_costs_nothing_to_refuse(
    sends: list[DagRun], incident: DagRun, environment: Environment
):
    again = submit(environment, dag_id=sends[1].dag_id, run_id=sends[1].run_id, correction_group="cidgroup2")
    answer(again, "Reject").wait()
    states = again.states()
    assert again.state == "success"
    assert {states[name] for name in ("recall", "tell", "all_taken_back")} == {"skipped"}
    assert environment.dingtalk.gone([*keys_sent(sends[1])]) == set()
    assert len(texts_in(environment, "cidgroup2")) == 1


# Keys that the user pasted into the form.


def test_they_are_taken_back_without_the_blanks_around_them(environment: Environment):
    environment.dingtalk.empty()
    keys = environment.dingtalk.create_messages("group", 25)
    left = environment.dingtalk.create_messages("group", 1)
    pasted = [f" {keys[0]}\r", "", *keys[1:], keys[3]]
    run = submit(environment, keys=pasted, **GROUP)
    assert numbers(asked(run)["body"]) == {"group messages": 25, "in all": 25}
    answer(run, "Approve").wait()
    assert run.state == "success"
    assert environment.dingtalk.gone() == set(keys)
    assert environment.dingtalk.gone(left) == set()
    assert run.states()["tell"] == "skipped"


def test_the_connection_s_robot_or_agent_is_taken_unless_one_is_named(environment: Environment):
    environment.dingtalk.empty()
    others = environment.dingtalk.create_messages("oto", 1, robot_code="dingother")
    notices = environment.dingtalk.create_messages("work_notification", 2)
    ours = submit(environment, keys=notices, kind="work_notification")
    foreign = submit(environment, keys=others, kind="oto", sender="dingother", correction_group="cidgroup3")
    answer(ours, "Approve")
    answer(foreign, "Approve")
    assert ours.wait().state == "success"
    assert environment.dingtalk.gone(notices) == set(notices)
    # The app of the connection may not use another app's robot, and the error says so.
    assert foreign.wait().state == "failed"
    assert environment.dingtalk.gone(others) == set()
    assert set(codes(foreign.report("recall"), "failed")) == set(others)


def test_one_that_dingtalk_does_not_know_fails_the_run_and_not_the_others(environment: Environment):
    environment.dingtalk.empty()
    keys = environment.dingtalk.create_messages("group", 4)
    bad = "bm9ib2R5IHNlbnQgdGhpcw=="
    run = submit(environment, keys=[*keys[:2], bad, *keys[2:]], correction_group="cidgroup2", **GROUP)
    assert numbers(asked(run)["body"])["in all"] == 5
    answer(run, "Approve").wait()
    assert run.state == "failed"
    states = run.states()
    assert states["recall"] == "failed"
    assert states["all_taken_back"] == "upstream_failed"
    report = run.report("recall")
    assert classes(report)["recalled"] == set(keys) == environment.dingtalk.gone()
    assert set(codes(report, "failed")) == {bad}
    (text,) = texts_in(environment, "cidgroup2")
    assert "4 of 5 messages were taken back" in text
    assert "failed: 1" in text


def test_one_that_can_be_no_key_stops_it_before_anybody_is_asked(environment: Environment):
    environment.dingtalk.empty()
    keys = environment.dingtalk.create_messages("group", 2)
    run = submit(environment, keys=[keys[0], "a\tb", keys[1]], **GROUP).wait()
    assert run.state == "failed"
    states = run.states()
    assert states["dry_run"] == "failed"
    assert states["approve"] == states["recall"] == "upstream_failed"
    assert "receipts[1].process_query_key" in run.log("dry_run")
    assert environment.dingtalk.gone() == set()


# Forms without messages, or with runs that sent none.


MISTYPED = "dingtalk_rolback_on_failure"
NOWHERE, SINCE = "manual__nowhere", "2026-11-21T09:00:00Z"
FORMS = {
    "empty": {},
    "blank": {"keys": [" "]},
    "no group": {"keys": ["key"], "kind": "group"},
    "unknown dag": {"dag_id": MISTYPED, "since": SINCE},
    "run of an unknown dag": {"dag_id": MISTYPED, "run_id": "manual__1"},
    "to come": {"dag_id": DAG, "since": "2036-11-21T09:00:00Z", "until": "2036-11-22T09:00:00Z"},
    "nowhere": {"dag_id": DAG, "run_id": NOWHERE},
    "run alone": {"run_id": NOWHERE},
    "time alone": {"since": SINCE},
    "dag alone": {"dag_id": DAG},
    "run and time": {"dag_id": DAG, "run_id": NOWHERE, "since": SINCE},
}


@pytest.fixture(scope="module")
def of_nothing(environment: Environment) -> dict[str, DagRun]:
    """Runs of forms that name no message, all begun together."""
    environment.dingtalk.empty()
    begun = {name: submit(environment, **form) for name, form in FORMS.items()}
    begun["silent"] = submit(environment, dag_id=DAG, run_id=begun["no group"].wait().run_id)
    return {name: run.wait() for name, run in begun.items()}


def test_an_empty_form_is_refused(of_nothing: dict[str, DagRun]):
    assert of_nothing["empty"].state == "failed"
    assert "The form names nothing" in of_nothing["empty"].log("pasted")


@pytest.mark.parametrize(("name", "looked"), [("blank", "0 runs;"), ("silent", f"1 runs of {DAG};")])
def test_with_nothing_to_take_back_nobody_is_asked_and_the_reason_is_told(
    of_nothing: dict[str, DagRun], name: str, looked: str
):
    states = of_nothing[name].states()
    assert of_nothing[name].state == "failed"
    assert states["dry_run"] == "failed"
    assert {states[task] for task in ("approve", "recall", "all_taken_back")} == {"upstream_failed"}
    assert states["tell"] == "skipped"
    assert f"nothing to recall: looked through {looked}" in of_nothing[name].log("dry_run")


@pytest.mark.parametrize(
    ("name", "task", "reason"),
    [
        ("unknown dag", "pasted", f"no run of the DAG '{MISTYPED}'"),
        ("run of an unknown dag", "pasted", f"no run of the DAG '{MISTYPED}'"),
        ("to come", "dry_run", "yet to come"),
        ("no group", "dry_run", "open_conversation_id"),
        ("nowhere", "pasted", f"Airflow knows no run {NOWHERE} of {DAG}."),
        ("run alone", "pasted", "A DAG needs a run or a time"),
        ("time alone", "pasted", "A DAG needs a run or a time"),
        ("dag alone", "pasted", "A DAG needs a run or a time"),
        ("run and time", "pasted", "use one of them"),
    ],
)
def test_a_form_that_cannot_be_right_is_refused_with_the_reason(
    of_nothing: dict[str, DagRun], name: str, task: str, reason: str
):
    assert of_nothing[name].state == "failed"
    assert reason in of_nothing[name].log(task)


def test_no_message_was_touched(of_nothing: dict[str, DagRun], environment: Environment):
    assert not set(environment.dingtalk.calls()) & set(RECALL_API.values())


def test_who_may_approve_can_be_told_on_dingtalk(environment: Environment):
    environment.dingtalk.empty()
    run = environment.trigger("real_approval_told")
    answer(run, "Reject").wait()
    assert run.state == "success"
    assert texts_in(environment, "cidgroup3") == [f"Please approve {run.run_id}."]


def test_everything_that_a_dag_sent_since_a_moment(environment: Environment):
    environment.dingtalk.empty()
    before = environment.trigger_and_wait(SENDS, revenue=7)
    early = set(environment.dingtalk.messages())
    since = datetime.now(UTC).isoformat()
    after = environment.trigger_and_wait(SENDS, revenue=7)
    late = set(environment.dingtalk.messages()) - early
    assert before.state == after.state == "success"
    run = submit(environment, dag_id=SENDS, since=since)
    assert numbers(asked(run)["body"])["in all"] == 51 == len(late)
    answer(run, "Approve").wait()
    assert run.state == "success"
    assert environment.dingtalk.gone() == late


def test_if_a_run_has_sent_more_than_was_approved_nothing_is_taken_back(environment: Environment):
    environment.dingtalk.empty()
    source = environment.trigger("real_incident_still_sending")
    asked(source)
    run = submit(environment, dag_id=source.dag_id, run_id=source.run_id, correction_group="cidgroup2")
    assert numbers(asked(run)["body"])["in all"] == 1
    assert answer(source, "Approve").wait().state == "success"
    assert answer(run, "Approve").wait().state == "failed"
    assert "There are 2 messages to recall, max_messages is 1" in run.log("recall")
    assert environment.dingtalk.gone() == set()
    (text,) = texts_in(environment, "cidgroup2")
    assert "0 of 2 messages were taken back" in text
    assert len(environment.dingtalk.messages()) == 3
