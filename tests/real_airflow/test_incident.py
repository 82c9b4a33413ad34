"""The incident DAG by REST: form, dry run, approval, recall, message to a group."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.real_airflow.fixtures import (
    RECALL_API,
    TIMEOUT,
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
#: Timeout in seconds; all runs are side by side.
LONG = 2 * TIMEOUT
GROUP = {"kind": "group", "open_conversation_id": "cidgroup1"}


def submit(environment: Environment, **form: Any) -> DagRun:
    """Submit the form; Airflow adds the defaults of empty fields."""
    return DagRun(environment.stack, DAG, environment.airflow.trigger(DAG, {"reason": WHY, **form}))


def asked(run: DagRun, task_id: str = "approve") -> dict[str, Any]:
    """Wait for the question of a task and return it."""
    _wait_for_the_question(run, task_id)
    return run.airflow.get(_hitl(run, task_id))


def answer(run: DagRun, option: str, task_id: str = "approve") -> DagRun:
    """Choose an option, as the buttons and lists in Airflow's UI do."""
    _wait_for_the_question(run, task_id)
    run.wait_until_noted(task_id)
    run.airflow.patch(_hitl(run, task_id), {"chosen_options": [option], "params_input": {}})
    return run


def _wait_for_the_question(run: DagRun, task_id: str) -> None:
    under_way = (None, "scheduled", "queued", "running")
    wait_until(f"{task_id} is no longer under way", lambda: run.states()[task_id] not in under_way, LONG)
    # Before 3.3 a question waits in the triggerer.
    assert run.states()[task_id] == ("awaiting_input" if VERSION >= (3, 3) else "deferred")


def _hitl(run: DagRun, task_id: str) -> str:
    return f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{task_id}/-1/hitlDetails"


def numbers(body: str) -> dict[str, int]:
    """Return the numbers of messages in the approval request, by kind."""
    found: dict[str, int] = {}
    for name, number in re.findall(r"^\| \**([^|*/]+) / [^|]+ \| \**(\d+)\** \|", body, re.MULTILINE):
        found[name] = found.get(name, 0) + int(number)
    return found


def keys_sent(run: DagRun) -> set[str]:
    """Return the keys of all messages of a run of the sends."""
    mapped = [run.xcom("send", map_index=index) or [] for index in range(3)]
    return {keys_of_receipt(receipt) for some in [*mapped, run.xcom("send_to_people")] for receipt in some}


def texts_in(environment: Environment, group: str, part: str) -> list[str]:
    """Return the visible texts in a group that contain a part."""
    messages = environment.dingtalk.messages().values()
    seen = [m["text"] for m in messages if m["open_conversation_id"] == group and m["recalled_at"] is None]
    return [text for text in seen if part in text]


MISTYPED = "dingtalk_rolback_on_failure"
NOWHERE, SINCE = "manual__nowhere", "2026-11-21T09:00:00Z"
UNKNOWN_KEY = "bm9ib2R5IHNlbnQgdGhpcw=="
#: Forms without messages, or with runs that sent none.
FORMS: dict[str, dict[str, Any]] = {
    "empty": {},
    "blank": {"keys": [" "]},
    "no group": {"keys": ["key"], "kind": "group"},
    "unknown dag": {"dag_id": MISTYPED, "since": SINCE},
    "run of an unknown dag": {"dag_id": MISTYPED, "run_id": "manual__1"},
    "to come": {"dag_id": DAG, "since": "2036-11-21T09:00:00Z", "until": "2036-11-22T09:00:00Z"},
    "nowhere": {"dag_id": DAG, "run_id": NOWHERE},
    "run alone": {"run_id": NOWHERE},
    "time alone": {"since": SINCE},
    "end alone": {"dag_id": DAG, "until": SINCE},
    "backwards": {"dag_id": DAG, "since": SINCE, "until": "2026-11-20T09:00:00Z"},
    "window without messages": {"dag_id": DAG, "since": "2026-11-20T09:00:00Z", "until": SINCE},
    "unknown dag alone": {"dag_id": MISTYPED},
    "run and time": {"dag_id": DAG, "run_id": NOWHERE, "since": SINCE},
}
#: Tasks of a DAG that send messages of every kind.
SEND_TASKS = ("send_to_groups", "send_to_people", "send_to_private_chat", "send_work_notification", "send_ding")


class Incidents:
    """Runs of all forms, side by side: asked about, then answered, then waited for."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        create = environment.dingtalk.create_messages
        self.pasted, self.left = create("group", 25), create("group", 1)
        self.notices, self.foreign = create("work_notification", 2), create("oto", 1, robot_code="dingother")
        self.known, self.beside_no_key = create("group", 4), create("group", 2)
        # Half of the sends of the first of them fail.
        self.bad, self.other = (environment.trigger("real_incident_sends") for _ in range(2))
        self.still_sending = environment.trigger("real_incident_still_sending")
        before = environment.trigger(SENDS, revenue=7)
        self.runs: dict[str, DagRun] = {}
        for name, form in FORMS.items():
            self._submit(name, **form)
        self._submit("pasted", keys=[f" {self.pasted[0]}\r", "", *self.pasted[1:], self.pasted[3]], **GROUP)
        self._submit("ours", keys=self.notices, kind="work_notification")
        self._submit("foreign", keys=self.foreign, kind="oto", sender="dingother", correction_group="cidgroup3")
        some = [*self.known[:2], UNKNOWN_KEY, *self.known[2:]]
        self._submit("unknown", keys=some, correction_group="cidgroup2", **GROUP)
        self._submit("rejected in silence", keys=self.left, **GROUP)
        self._submit("no key", keys=[self.beside_no_key[0], "a\tb", self.beside_no_key[1]], **GROUP)
        self.runs["told"] = environment.trigger("real_approval_told")
        assert before.wait(LONG).state == "success"
        since = datetime.now(UTC).isoformat()
        self.late = environment.trigger(SENDS, revenue=7)
        told = {"correction_group": "cidgroup2"}
        self.bad.wait(LONG)
        self._submit("incident", dag_id=self.bad.dag_id, **told)
        self.choice = asked(self["incident"], "dry_run")
        answer(self["incident"], next(one for one in self.choice["options"] if self.bad.run_id in one), "dry_run")
        self._submit_run("again", self.other.wait(LONG), **told)
        self._submit_run("silent", self.runs["no group"].wait(LONG))
        asked(self.still_sending)
        self._submit_run("more than approved", self.still_sending, **told)
        assert self.late.wait(LONG).state == "success"
        self._submit("since", dag_id=SENDS, since=since)
        self._answer()

    def _submit(self, name: str, **form: Any) -> None:
        self.runs[name] = submit(self._environment, **form)

    def _submit_run(self, name: str, run: DagRun, **more: Any) -> None:
        self._submit(name, dag_id=run.dag_id, run_id=run.run_id, **more)

    def _answer(self) -> None:
        refused, rejected = (*FORMS, "no key", "silent"), ("again", "told", "rejected in silence")
        self.questions = {name: asked(run) for name, run in self.runs.items() if name not in refused}
        for name in refused:
            self.runs[name].wait(LONG)
        self.gone_before = self._environment.dingtalk.gone()
        self.calls_before = set(self._environment.dingtalk.calls())
        assert answer(self.still_sending, "Approve").wait(LONG).state == "success"
        for name in self.questions:
            answer(self.runs[name], "Reject" if name in rejected else "Approve")
        for run in self.runs.values():
            run.wait(LONG)

    def __getitem__(self, name: str) -> DagRun:
        return self.runs[name]

    def numbers(self, name: str) -> dict[str, int]:
        """Return the numbers that an approval request shows."""
        return numbers(self.questions[name]["body"])


@pytest.fixture(scope="module")
def incidents(environment: Environment) -> Incidents:
    environment.dingtalk.empty()
    return Incidents(environment)


def test_nothing_is_gone_before_it_is_approved(incidents: Incidents):
    assert incidents.gone_before == set()
    assert not incidents.calls_before & set(RECALL_API.values())


def test_what_is_gone_was_approved(incidents: Incidents, environment: Environment):
    late = {key for task in SEND_TASKS for key in incidents.late.keys(task)}
    assert len(late) == 51
    recalled = {*incidents.pasted, *incidents.notices, *incidents.known, *keys_sent(incidents.bad), *late}
    assert environment.dingtalk.gone() == recalled


# A run in which half of the sends failed, and another run that must not change.


def test_it_asks_how_many_of_the_run_are_to_be_gone(incidents: Incidents):
    question = incidents.questions["incident"]
    assert incidents.bad.state == "failed"
    assert question["subject"] == "Take back 47 DingTalk messages? / 撤回 47 条钉钉消息？"
    assert incidents.numbers("incident") == {"group messages": 2, "one-on-one messages": 45, "in all": 47}
    assert WHY in question["body"]
    assert "`cidgroup1` `To groups.` | 1 | unknown / 未知 |" in question["body"]
    assert "one-on-one messages / 单聊消息 `To people.` | 45 | 45 |" in question["body"]
    assert question["options"] == ["Approve", "Reject"]


def test_a_run_is_chosen_from_a_list_with_the_newest_first(incidents: Incidents):
    assert incidents.bad.dag_id in incidents.choice["subject"]
    states = [option.split(" · ")[1:] for option in incidents.choice["options"]]
    assert [run_id for _, run_id in states] == [incidents.other.run_id, incidents.bad.run_id]
    assert states[1][0] == "failed / 失败"


def test_approved_exactly_the_messages_of_the_run_are_gone(incidents: Incidents, environment: Environment):
    bad, other = keys_sent(incidents.bad), keys_sent(incidents.other)
    assert incidents["incident"].state == "success"
    assert environment.dingtalk.gone([*bad]) == bad == classes(incidents["incident"].report("recall"))["recalled"]
    assert len(bad) == 47 == len(other)
    assert environment.dingtalk.gone([*other]) == set()


def test_what_was_recalled_is_what_was_counted(incidents: Incidents):
    run = incidents["incident"]
    counts = run.report("recall")["counts"]
    assert counts["recalled"] == counts["total"] == run.xcom("dry_run")["counts"]["total"]


def test_the_group_is_told(incidents: Incidents, environment: Environment):
    assert incidents["incident"].states()["tell"] == "success"
    (text,) = texts_in(environment, "cidgroup2", "47 of 47 messages were taken back")
    assert WHY in text
    assert "failed" not in text


def test_once_more_the_run_can_be_asked_for_and_it_costs_nothing_to_refuse(
    incidents: Incidents, environment: Environment
):
    run = incidents["again"]
    states = run.states()
    assert run.state == "success"
    assert {states[name] for name in ("recall", "all_taken_back")} == {"skipped"}
    assert environment.dingtalk.gone([*keys_sent(incidents.other)]) == set()
    # Those of the three other forms with this group.
    assert len(texts_in(environment, "cidgroup2", "messages were taken back")) == 3


def test_the_group_is_told_of_a_rejection(incidents: Incidents, environment: Environment):
    assert incidents["again"].states()["tell"] == "success"
    (text,) = texts_in(environment, "cidgroup2", "Nothing was taken back")
    assert "The recall of 47 messages was rejected." in text
    assert WHY in text
    # This form was rejected too, and names no group.
    assert incidents["rejected in silence"].states()["tell"] == "skipped"


# Keys that the user pasted into the form.


def test_they_are_taken_back_without_the_blanks_around_them(incidents: Incidents, environment: Environment):
    run = incidents["pasted"]
    assert incidents.numbers("pasted") == {"group messages": 25, "in all": 25}
    assert run.state == "success"
    assert environment.dingtalk.gone(incidents.pasted) == set(incidents.pasted)
    assert environment.dingtalk.gone(incidents.left) == set()
    assert run.states()["tell"] == "skipped"


def test_the_connection_s_robot_or_agent_is_taken_unless_one_is_named(incidents: Incidents, environment: Environment):
    assert incidents["ours"].state == "success"
    assert environment.dingtalk.gone(incidents.notices) == set(incidents.notices)
    # The app of the connection may not use another app's robot, and the error says so.
    assert incidents["foreign"].state == "failed"
    assert environment.dingtalk.gone(incidents.foreign) == set()
    assert set(codes(incidents["foreign"].report("recall"), "failed")) == set(incidents.foreign)


def test_one_that_dingtalk_does_not_know_fails_the_run_and_not_the_others(
    incidents: Incidents, environment: Environment
):
    run = incidents["unknown"]
    assert incidents.numbers("unknown")["in all"] == 5
    assert run.state == "failed"
    states = run.states()
    assert states["recall"] == "failed"
    assert states["all_taken_back"] == "upstream_failed"
    report = run.report("recall")
    assert classes(report)["recalled"] == set(incidents.known) == environment.dingtalk.gone(incidents.known)
    assert set(codes(report, "failed")) == {UNKNOWN_KEY}
    (text,) = texts_in(environment, "cidgroup2", "4 of 5 messages were taken back")
    assert "failed / 失败: 1" in text


def test_one_that_can_be_no_key_stops_it_before_anybody_is_asked(incidents: Incidents, environment: Environment):
    run = incidents["no key"]
    assert run.state == "failed"
    states = run.states()
    assert states["dry_run"] == "failed"
    assert states["approve"] == states["recall"] == "upstream_failed"
    assert "receipts[1].process_query_key" in run.log("dry_run")
    assert environment.dingtalk.gone(incidents.beside_no_key) == set()


def test_an_empty_form_is_refused(incidents: Incidents):
    for name in ("empty", "blank"):
        assert incidents[name].state == "failed"
        assert "The form names nothing" in incidents[name].log("dry_run")
        assert "表单没有填写要撤回的内容" in incidents[name].log("dry_run")


@pytest.mark.parametrize(("name", "looked"), [("silent", f"1 runs of {DAG};"), ("window without messages", "")])
def test_with_nothing_to_take_back_nobody_is_asked_and_the_reason_is_told(incidents: Incidents, name: str, looked: str):
    states = incidents[name].states()
    assert incidents[name].state == "failed"
    assert states["dry_run"] == "failed"
    assert {states[task] for task in ("approve", "recall", "all_taken_back")} == {"upstream_failed"}
    assert states["tell"] == "skipped"
    assert f"nothing to recall: looked through {looked}" in incidents[name].log("dry_run")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("unknown dag", f"no run of the DAG '{MISTYPED}'"),
        ("unknown dag alone", f"no run of the DAG '{MISTYPED}'"),
        ("run of an unknown dag", f"no run of the DAG '{MISTYPED}'"),
        ("to come", "yet to come"),
        ("backwards", "not later than since"),
        ("end alone", "Until needs since"),
        ("no group", "open_conversation_id"),
        ("nowhere", f"Airflow knows no run {NOWHERE} of {DAG}."),
        ("run alone", "A run or a time needs a DAG"),
        ("time alone", "A run or a time needs a DAG"),
        ("run and time", "use one of them"),
    ],
)
def test_a_form_that_cannot_be_right_fails_in_its_first_task_with_the_reason(
    incidents: Incidents, name: str, reason: str
):
    run = incidents[name]
    assert (run.state, run.states()["dry_run"], run.states()["approve"]) == ("failed", "failed", "upstream_failed")
    assert reason in run.log("dry_run")


def test_who_may_approve_can_be_told_on_dingtalk(incidents: Incidents, environment: Environment):
    run = incidents["told"]
    assert run.state == "success"
    assert texts_in(environment, "cidgroup3", "Please approve") == [f"Please approve {run.run_id}."]


def test_everything_that_a_dag_sent_since_a_moment(incidents: Incidents):
    assert incidents["since"].state == "success"
    assert incidents.numbers("since")["in all"] == 51
    late = {key for task in SEND_TASKS for key in incidents.late.keys(task)}
    assert classes(incidents["since"].report("recall"))["recalled"] == late


def test_if_a_run_has_sent_more_than_was_approved_nothing_is_taken_back(incidents: Incidents, environment: Environment):
    run = incidents["more than approved"]
    assert incidents.numbers("more than approved")["in all"] == 1
    assert run.state == "failed"
    assert "There are 2 messages to recall, max_messages is 1" in run.log("recall")
    keys = [*incidents.still_sending.keys("send"), *incidents.still_sending.keys("send_again")]
    assert len(keys) == 2
    assert environment.dingtalk.gone(keys) == set()
    assert len(texts_in(environment, "cidgroup2", "0 of 2 messages were taken back")) == 1
