"""Recalls inside a task: cost, errors, timeouts, kills."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import IncompleteRecallError, SupersededError
from airflow_provider_dingtalk.language import VARIABLE, Language, in_language
from airflow_provider_dingtalk.messages.reason import advice
from airflow_provider_dingtalk.operators import DingTalkRecallOTOMessagesOperator, DingTalkSendOTOMessagesOperator
from airflow_provider_dingtalk.sandbox.default import GROUPS
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.triggers import DingTalkDateTimeTrigger
from airflow_provider_dingtalk.version_compat import AirflowFailException, AirflowTaskTimeout
from tests.support.airflow_names import TaskDeferred
from tests.support.airflow_seams import (
    TOKEN_API,
    TaskInstance,
    TaskStateStore,
    calls,
    context,
    is_recalled,
    key_of,
    planted,
)
from tests.support.connections import Connect
from tests.support.interruptions import alarm_at_call, raising_on_alarm
from tests.support.operators import HOUR, OTO_RECALL, rollback, run

pytestmark = pytest.mark.usefixtures("hook")
LOGGER = "airflow_provider_dingtalk.task.recall"


def test_the_promised_numbers_of_calls(sandbox: SandboxServer) -> None:
    receipts = [*planted(sandbox, "oto", 45), *planted(sandbox, "work_notification")]
    for group in GROUPS:
        receipts += planted(sandbox, "group", 25, open_conversation_id=group)
    report = run(rollback(receipts))
    assert report["counts"]["recalled"] == 121
    assert calls(sandbox) == {
        TOKEN_API: 1,
        OTO_RECALL: 3,
        "robot/groupMessages/recall": 6,
        "topapi/message/corpconversation/recall": 1,
    }
    assert report["api_calls"] == {"recall": 10, "token": 1, "total": 11}


def test_ten_thousand_messages_are_all_counted_and_few_listed(sandbox: SandboxServer) -> None:
    receipts = planted(sandbox, "oto", 10_000)
    ti = TaskInstance()
    report = run(rollback(receipts), ti)
    assert report["counts"]["recalled"] == report["counts"]["total"] == 10_000
    assert (len(report["recalled"]), report["omitted"]) == (100, {"recalled": 9_900})
    assert calls(sandbox)[OTO_RECALL] == 500
    assert len(json.dumps(ti.pushed("report"))) < 10_000
    pieces = [ti.pushed(f"recalled_{number}") for number in range(2)]
    assert [len(piece) for piece in pieces] == [5_000, 5_000]
    assert {*pieces[0], *pieces[1]} == {receipt["process_query_key"] for receipt in receipts}
    assert sandbox.snapshot(brief=True)["counts"]["oto"]["visible"] == 0


@pytest.mark.parametrize(
    "recall",
    [
        rollback,
        lambda receipts: DingTalkRecallOTOMessagesOperator(task_id="t", receipts=receipts),
    ],
    ids=["rollback", "one kind"],
)
def test_the_report_in_the_log_says_what_became_of_each_conversation(
    sandbox: SandboxServer, caplog: pytest.LogCaptureFixture, recall: Callable[..., Any], english: None
) -> None:
    receipts = [{**receipt, "recipients": 15} for receipt in planted(sandbox, "oto", 2)]
    with caplog.at_level(logging.INFO, LOGGER), pytest.raises(AirflowFailException):
        run(recall([*receipts, *planted(sandbox, "oto", age_seconds=25 * HOUR)]))
    [report] = [message for record in caplog.records if (message := record.getMessage()).startswith("Report")]
    title, counts, place, reason, cost = report.splitlines()
    assert (title, counts) == ("Report", "recalled 2   failed 0   expired 1   unknown 0   total 3")
    assert place.startswith("  one-on-one messages: 3 to 30 people at least, sent from ")
    assert place.endswith(": recalled 2, expired 1")
    assert reason.startswith("  1 expired: robot.processQueryKey.expired. ")
    assert cost.startswith("api calls ")


def test_the_report_in_the_log_is_english_above_chinese(
    sandbox: SandboxServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "both")
    with caplog.at_level(logging.INFO, "airflow_provider_dingtalk.task"):
        run(rollback(planted(sandbox, "oto", 2)))
    [report] = [message for message in caplog.messages if message.startswith("Report")]
    starts = ["Report", "recalled 2", "  one-on-one", "api calls", "报告", "已撤回 2", "  单聊消息：2 条", "API 调用"]
    assert [line[: len(start)] for line, start in zip(report.splitlines(), starts, strict=True)] == starts
    told = "Recalling 2 messages, to an unknown number of people. 正在撤回 2 条消息，接收人数未知。"
    assert told in caplog.messages


@pytest.mark.parametrize(("option", "is_told"), [("en", (True, False)), ("zh", (False, True)), ("both", (True, True))])
def test_the_next_steps_of_a_failure_are_joined_in_each_language(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch, option: str, is_told: tuple[bool, bool]
) -> None:
    monkeypatch.setenv(VARIABLE, option)
    ti, [good], old = TaskInstance(), planted(sandbox, "oto"), planted(sandbox, "oto", age_seconds=25 * HOUR)
    with pytest.raises(AirflowFailException) as raised:
        run(rollback([*old, {**good, "process_query_key": "unknown"}]), ti)
    report = ti.pushed("report")
    steps = {reason["next_step"] for reason in [*report["expired"].values(), *report["failed"].values()]}
    chinese = {in_language(Language.ZH, lambda step=step: advice(step)) for step in steps}  # type: ignore[misc]
    assert len(steps) == 2
    assert not steps & chinese
    assert [all(step in str(raised.value) for step in each) for each in (steps, chinese)] == list(is_told)


# ── when a recall fails, and as what ─────────────────────────────────────────────────────────────────


def test_what_no_retry_can_mend_fails_for_good_with_its_cause(sandbox: SandboxServer) -> None:
    good, old = planted(sandbox, "oto"), planted(sandbox, "oto", age_seconds=25 * HOUR)
    ti = TaskInstance()
    with pytest.raises(AirflowFailException, match="1 of 2 messages recalled; 1 expired") as raised:
        run(rollback(good + old), ti)
    assert isinstance(raised.value.__cause__, IncompleteRecallError)
    report = ti.pushed("report")
    assert list(report["expired"]) == [key_of(old[0])]
    assert set(report["expired"][key_of(old[0])]) == {"code", "message", "next_step"}
    assert calls(sandbox) == {TOKEN_API: 1, OTO_RECALL: 1}


def test_what_may_pass_is_left_to_airflows_retries(sandbox: SandboxServer) -> None:
    receipts = planted(sandbox, "ding", 2)
    sandbox.faults({"action": {"type": "ban"}, "match": "ding/recall"})
    ti = TaskInstance()
    with pytest.raises(IncompleteRecallError) as raised:
        run(rollback(receipts), ti, store=False)
    assert not isinstance(raised.value, AirflowFailException)
    assert not raised.value.permanent
    assert ti.pushed("report")["counts"]["failed"] == 2


def test_a_long_wait_gives_the_worker_back_where_airflow_keeps_the_checkpoint(
    sandbox: SandboxServer, connect: Connect
) -> None:
    receipts = planted(sandbox, "ding", 2)
    sandbox.faults({"action": {"type": "ban"}, "match": "ding/recall", "times": 1})
    ti, operator = TaskInstance(), rollback(receipts)
    task = context(ti)
    with pytest.raises(TaskDeferred) as raised:
        operator.execute(task)
    assert isinstance(raised.value.trigger, DingTalkDateTimeTrigger)
    assert raised.value.method_name == "resume"
    assert ti.pushed("report")["counts"]["failed"] == 2
    # A new client does not know of the ban, as in another process five minutes later.
    connect(extra={"calls_per_second": 1000})
    assert operator.resume(task, {"waits": 1})["counts"]["recalled"] == 2
    assert all(is_recalled(sandbox, receipt) for receipt in receipts)


@pytest.mark.parametrize(
    ("fail_on", "fails"),
    [
        ({"failed", "expired", "unknown"}, True),
        ("expired", True),
        (["expired"], True),
        ({"failed", "unknown"}, False),
        ((), False),
    ],
)
def test_only_the_classes_of_fail_on_fail_the_task(sandbox: SandboxServer, fail_on: Any, fails: bool) -> None:
    receipts = planted(sandbox, "oto", age_seconds=25 * HOUR)
    if fails:
        with pytest.raises(AirflowFailException):
            run(rollback(receipts, fail_on=fail_on))
    else:
        assert run(rollback(receipts, fail_on=fail_on))["counts"]["expired"] == 1
    assert calls(sandbox) == {}


@pytest.mark.parametrize("change", [{"password": ""}, {"extra": {"region": "eu"}}, {"host": "https://example.com"}])
def test_a_bad_connection_fails_for_good(sandbox: SandboxServer, connect: Connect, change: dict[str, Any]) -> None:
    receipts = planted(sandbox, "oto")
    connect(**change)
    for operator in (rollback(receipts), rollback(receipts, dingtalk_conn_id="nowhere")):
        ti = TaskInstance()
        with pytest.raises(AirflowFailException):
            run(operator, ti)
        assert ti.pushed("report")["counts"] == {
            "recalled": 0, "failed": 0, "expired": 0, "unknown": 1, "total": 1, "duplicates": 0,
        }, "what an earlier try did was not read"  # fmt: skip
    assert calls(sandbox) == {}


def test_a_refused_key_fails_for_good_and_names_the_region(sandbox: SandboxServer, connect: Connect) -> None:
    connect(password="wrong")
    with pytest.raises(AirflowFailException, match="region"):
        run(rollback(planted(sandbox, "oto")))
    assert not any(message.recalled_at for message in sandbox.state.messages.values())


@pytest.mark.parametrize("store", [True, False], ids=["3.3", "3.1"])
def test_a_task_killed_by_its_timeout_stops_and_its_report_is_there(sandbox: SandboxServer, store: bool) -> None:
    receipts = planted(sandbox, "group", 1200)
    api = "robot/groupMessages/recall"
    sandbox.faults({"action": {"type": "delay", "seconds": 1}, "match": api})
    operator = rollback(receipts)
    ti = TaskInstance()
    # The second call is one of twenty that are in flight.
    with (
        raising_on_alarm(AirflowTaskTimeout),
        alarm_at_call(sandbox, api, 2),
        pytest.raises(AirflowTaskTimeout),
    ):
        run(operator, ti, store=store)
    counts = ti.pushed("report")["counts"]
    assert counts["total"] == 1200
    assert sum(counts[name] for name in ("recalled", "failed", "expired", "unknown")) == 1200
    assert counts["failed"] > 0
    assert counts["recalled"] == sum(is_recalled(sandbox, receipt) for receipt in receipts)
    sandbox.faults()
    stopped_at = calls(sandbox)[api]
    assert run(rollback(planted(sandbox, "oto")))["counts"]["recalled"] == 1
    assert calls(sandbox)[api] == stopped_at < 60


class KillingStore(TaskStateStore):
    """Store that kills the task while the ``at``-th row is written."""

    def __init__(self, at: int, kill: Callable[[], None]) -> None:
        super().__init__()
        self._left = at
        self._kill = kill

    def set(self, key: str, value: Any) -> None:
        super().set(key, value)
        self._left -= "begun" not in key
        if self._left == 0 and "begun" not in key:
            self._kill()


def test_a_killed_task_begins_no_further_call_and_reports(sandbox: SandboxServer) -> None:
    receipts = planted(sandbox, "group", 1200)
    operator, ti = rollback(receipts), TaskInstance()
    task: Any = {**context(ti), "task_state_store": KillingStore(4, operator.on_kill)}
    with pytest.raises(IncompleteRecallError) as raised:
        operator.execute(task)
    assert not raised.value.permanent
    report = ti.pushed("report")
    assert report["counts"]["recalled"] == sum(is_recalled(sandbox, receipt) for receipt in receipts)
    assert {reason["code"] for reason in report["failed"].values()} == {"not_attempted"}
    assert calls(sandbox)["robot/groupMessages/recall"] == report["counts"]["recalled"] / 20 < 60
    task["ti"] = TaskInstance()
    assert operator.execute(task)["counts"]["recalled"] == 1200, "the next try goes on"
    assert calls(sandbox)["robot/groupMessages/recall"] == 60


class SupersededStore(TaskStateStore):
    """Store whose try is superseded while the ``at``-th row is written."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._left = at

    def set(self, key: str, value: Any) -> None:
        self._left -= "begun" not in key
        if self._left <= 0:
            raise RuntimeError("API_SERVER_ERROR: {'status_code': 404, 'message': 'Task instance not found'}")
        super().set(key, value)


@pytest.mark.parametrize(
    ("make", "at"),
    [
        # However calls share their writes, the second one is for the intents of those behind the first call.
        (lambda sandbox: rollback(planted(sandbox, "group", 400)), 2),
        (
            lambda sandbox: DingTalkSendOTOMessagesOperator(
                task_id="t", user_ids=["user001", "user002", "user003"], one_receipt_per_user=True, text="hello"
            ),
            4,
        ),
    ],
    ids=["recall", "send"],
)
def test_a_superseded_try_stops_and_leaves_the_xcoms_of_the_new_one_alone(
    sandbox: SandboxServer, make: Callable[[SandboxServer], Any], at: int
) -> None:
    ti = TaskInstance()
    with pytest.raises(SupersededError):
        make(sandbox).execute({**context(ti), "task_state_store": SupersededStore(at)})
    assert "report" not in ti.keys
    assert sum(calls(sandbox).values()) <= 4, "one for the token, and those before the store said no"


@pytest.mark.parametrize("make", [rollback, lambda: DingTalkSendOTOMessagesOperator(task_id="t", user_ids=["u"])])
def test_a_task_killed_before_it_began_does_not_mind(make: Callable[[], Any]) -> None:
    assert make().on_kill() is None
