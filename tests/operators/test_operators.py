"""Operators executed against a running sandbox: their input, XComs and errors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import (
    DroppedReceiversError,
    IncompleteRecallError,
    IncompleteSendError,
    SupersededError,
)
from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.messages.send_requests import MAX_USERS_PER_OTO_SEND
from airflow_provider_dingtalk.operators import (
    DingTalkRecallDingOperator,
    DingTalkRecallGroupMessagesOperator,
    DingTalkRecallOTOMessagesOperator,
    DingTalkRecallPrivateChatMessagesOperator,
    DingTalkRecallWorkNotificationOperator,
    DingTalkRollbackOperator,
    DingTalkSendDingOperator,
    DingTalkSendGroupMessageOperator,
    DingTalkSendOTOMessagesOperator,
    DingTalkSendPrivateChatMessageOperator,
    DingTalkSendWorkNotificationOperator,
    DingTalkSweepOperator,
)
from airflow_provider_dingtalk.sandbox.default import AGENT_ID, COOL_APP_CODE, GROUPS, PRIVATE_CHAT, ROBOT_CODE
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.triggers import DingTalkDateTimeTrigger
from airflow_provider_dingtalk.version_compat import AirflowFailException, AirflowSkipException, AirflowTaskTimeout
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
from tests.test_hooks import alarm_at_call, raising_on_alarm

GROUP_SEND = "robot/groupMessages/send"
OTO_SEND = "robot/oToMessages/batchSend"
OTO_RECALL = "robot/otoMessages/batchRecall"
HOUR = 3600

pytestmark = pytest.mark.usefixtures("hook")


def rollback(receipts: Any = None, **arguments: Any) -> DingTalkRollbackOperator:
    return DingTalkRollbackOperator(task_id="rollback", receipts=receipts, **arguments)


def sweep(**arguments: Any) -> DingTalkSweepOperator:
    return DingTalkSweepOperator(task_id="sweep", dag_ids=["revenue"], **arguments)


def run(operator: Any, ti: TaskInstance | None = None, *, store: bool = True) -> Any:
    """Execute as a task does.

    :param store: Add a task state store, as in Airflow 3.3 and later.
    """
    return operator.execute(context(ti, store=store))


# ── what is taken for receipts and keys ──────────────────────────────────────────────────────────────


def repeated(receipts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Five of nine name a message that another one named before."""
    return receipts + receipts[:2] + receipts[1:]


SHAPES: list[Callable[[list[dict[str, Any]]], Any]] = [
    lambda receipts: receipts,
    tuple,
    lambda receipts: [[receipt] for receipt in receipts],
    lambda receipts: [[[[receipts]]]],
    lambda receipts: [None, receipts[0], "None", [], [None, receipts[1:]], None],
    json.dumps,
    lambda receipts: [json.dumps(receipt) for receipt in receipts],
    lambda receipts: json.dumps([[receipts[0]], None, receipts[1:]]),
    repeated,
    lambda receipts: [{**receipt, "unknown": "field"} for receipt in receipts],
    lambda receipts: [{name: v for name, v in receipt.items() if name != "sent_at"} for receipt in receipts],
]


@pytest.mark.parametrize("store", [True, False], ids=["3.3", "3.1"])
@pytest.mark.parametrize("shape", SHAPES)
def test_receipts_come_in_whatever_shape_an_xcom_gives_them(
    sandbox: SandboxServer, shape: Callable[[Any], Any], store: bool
) -> None:
    receipts = [*planted(sandbox, "oto", 2), *planted(sandbox, "group"), *planted(sandbox, "work_notification")]
    given, ti = shape(receipts), TaskInstance()
    report = run(rollback(given), ti, store=store)
    assert all(is_recalled(sandbox, receipt) for receipt in receipts)
    duplicates = 5 if shape is repeated else 0
    assert report["counts"] == {
        "recalled": 4, "failed": 0, "expired": 0, "unknown": 0, "total": 4, "duplicates": duplicates,
    }  # fmt: skip
    assert sorted(report["recalled"]) == sorted(map(key_of, receipts))
    assert ti.pushes == [("report", report, None), ("recalled_0", report["recalled"], None)]


@pytest.mark.parametrize("nothing", [None, "None", [], "[]", "[null]", [None, "None", [None]], ()])
def test_nothing_to_recall_is_as_on_empty_says(sandbox: SandboxServer, nothing: Any) -> None:
    assert run(rollback(nothing))["counts"]["total"] == 0
    for on_empty, error in (("skip", AirflowSkipException), ("fail", AirflowFailException)):
        ti = TaskInstance()
        with pytest.raises(error):
            run(rollback(nothing, on_empty=on_empty), ti)
        assert ti.pushed("report")["counts"]["total"] == 0
    assert calls(sandbox) == {}


KEYS: list[Callable[[list[str]], Any]] = [
    lambda keys: keys,
    tuple,
    set,
    json.dumps,
    lambda keys: [*keys, keys[0]],
    lambda keys: f"  {json.dumps(keys)}\n",
]


@pytest.mark.parametrize("shape", KEYS)
@pytest.mark.parametrize("kind", ["group", "oto", "private_chat", "ding"])
def test_keys_come_as_a_list_or_json_of_one(sandbox: SandboxServer, kind: str, shape: Callable[[Any], Any]) -> None:
    receipts = planted(sandbox, kind, 2)
    operators: dict[str, Callable[[Any], Any]] = {
        "group": lambda keys: DingTalkRecallGroupMessagesOperator(
            task_id="t", process_query_keys=keys, open_conversation_id=GROUPS[0]
        ),
        "oto": lambda keys: DingTalkRecallOTOMessagesOperator(task_id="t", process_query_keys=keys),
        "private_chat": lambda keys: DingTalkRecallPrivateChatMessagesOperator(
            task_id="t", process_query_keys=keys, open_conversation_id=PRIVATE_CHAT
        ),
        "ding": lambda keys: DingTalkRecallDingOperator(task_id="t", open_ding_ids=keys),
    }
    report = run(operators[kind](shape([key_of(receipt) for receipt in receipts])))
    assert report["counts"]["recalled"] == report["counts"]["total"] == 2
    assert all(is_recalled(sandbox, receipt) for receipt in receipts)


@pytest.mark.parametrize(
    "shape",
    [
        lambda ids: ids,
        lambda ids: [str(number) for number in ids],
        json.dumps,
        lambda ids: json.dumps([str(number) for number in ids]),
        lambda ids: f" {json.dumps(ids)}",
    ],
)
def test_task_ids_of_work_notifications_come_in_all_forms(
    sandbox: SandboxServer, shape: Callable[[list[int]], Any]
) -> None:
    receipts = planted(sandbox, "work_notification", 2)
    given = shape([int(key_of(receipt)) for receipt in receipts])
    report = run(DingTalkRecallWorkNotificationOperator(task_id="t", msg_task_id=given))
    assert report["counts"]["recalled"] == 2
    assert all(is_recalled(sandbox, receipt) for receipt in receipts)


@pytest.mark.parametrize("form", [int, str, lambda key: f" {key} ", lambda key: [int(key)]])
def test_one_task_id_needs_no_list(sandbox: SandboxServer, form: Callable[[str], Any]) -> None:
    (receipt,) = planted(sandbox, "work_notification")
    operator = DingTalkRecallWorkNotificationOperator(task_id="t", msg_task_id=form(key_of(receipt)))
    assert run(operator)["counts"]["recalled"] == 1


@pytest.mark.parametrize("nothing", [None, "None", [], "[]"])
def test_no_task_id_is_nothing_to_recall(sandbox: SandboxServer, nothing: Any) -> None:
    assert run(DingTalkRecallWorkNotificationOperator(task_id="t", msg_task_id=nothing))["counts"]["total"] == 0


def test_keys_and_receipts_go_together(sandbox: SandboxServer) -> None:
    one, other = planted(sandbox, "oto", 2)
    operator = DingTalkRecallOTOMessagesOperator(task_id="t", process_query_keys=[key_of(one)], receipts=[other, one])
    report = run(operator)
    assert (report["counts"]["total"], report["counts"]["duplicates"]) == (2, 1)
    assert calls(sandbox)[OTO_RECALL] == 1


def test_the_operators_robot_wins_over_the_connections(sandbox: SandboxServer, connect: Connect) -> None:
    connect(extra={"robot_code": "somebody-else"})
    (receipt,) = planted(sandbox, "oto")
    operator = DingTalkRecallOTOMessagesOperator(
        task_id="t", process_query_keys=[key_of(receipt)], robot_code=ROBOT_CODE
    )
    assert run(operator)["counts"]["recalled"] == 1


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


def test_receipts_of_send_tasks_are_found_even_of_failed_and_mapped_ones(sandbox: SandboxServer) -> None:
    first, second, third, fourth = planted(sandbox, "oto", 4)
    xcoms: dict[tuple[str, str], list[Any]] = {
        ("send", "receipts_0"): [[first]],
        ("mapped", "receipts_0"): [[second], None, [third]],
        ("mapped", "receipts_1"): [[fourth]],
    }
    for tasks in (["send", "mapped", "silent"], '["send", "mapped"]'):
        report = run(rollback(from_tasks=tasks), TaskInstance("rollback", xcoms=xcoms))
        assert report["counts"]["total"] == 4
    assert run(rollback(from_tasks="send"), TaskInstance("rollback", xcoms=xcoms))["counts"]["total"] == 1


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


def test_a_long_wait_gives_the_worker_back_where_airflow_keeps_the_ledger(
    sandbox: SandboxServer, connect: Connect
) -> None:
    receipts = planted(sandbox, "ding", 2)
    sandbox.faults({"action": {"type": "ban"}, "match": "ding/recall", "times": 1})
    ti, operator = TaskInstance(), rollback(receipts)
    task = context(ti)
    with pytest.raises(TaskDeferred) as raised:
        operator.execute(task)
    assert isinstance(raised.value.trigger, DingTalkDateTimeTrigger)
    assert raised.value.method_name == "go_on"
    assert ti.pushed("report")["counts"]["failed"] == 2
    # A new client does not know of the ban, as in another process five minutes later.
    connect(extra={"calls_per_second": 1000})
    assert operator.go_on(task, {"waits": 1})["counts"]["recalled"] == 2
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
    """Store that kills the task while the ``at``-th value is written."""

    def __init__(self, at: int, kill: Callable[[], None]) -> None:
        super().__init__()
        self._left = at
        self._kill = kill

    def set(self, key: str, value: Any) -> None:
        super().set(key, value)
        self._left -= 1
        if self._left == 0:
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
    """Store whose try is superseded while the ``at``-th value is written."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._left = at

    def set(self, key: str, value: Any) -> None:
        self._left -= 1
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


# ── bad input ────────────────────────────────────────────────────────────────────────────────────────


def nested(depth: int) -> list[Any]:
    """Lists in lists."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


GOOD = {"kind": "oto", "robot_code": ROBOT_CODE, "process_query_key": "k"}
GROUP = {"kind": "group", "robot_code": ROBOT_CODE, "open_conversation_id": GROUPS[0], "process_query_key": "k"}
WORK = {"kind": "work_notification", "agent_id": AGENT_ID, "task_id": 5}

BAD_RECEIPTS: list[tuple[Any, str]] = [
    ("no json", "receipts"),
    ("{'kind': 'oto'}", "receipts"),
    ("5", "receipts"),
    ('"text"', "receipts"),
    ("[" * 100_000, "receipts"),
    ("[" * 900 + "]" * 900, "receipts"),
    ("", "receipts"),
    (5, "receipts"),
    (1.5, "receipts"),
    (True, "receipts"),
    (b"[]", "receipts"),
    (bytearray(b"x"), "receipts"),
    (object(), "receipts"),
    ({1, 2}, "receipts"),
    ([5], "receipts[0]"),
    ([GOOD, [GOOD, 5]], "receipts[1][1]"),
    ([GOOD, "k"], "receipts[1]"),
    ([b"k"], "receipts[0]"),
    (nested(9), "receipts"),
    ({}, "receipts.kind"),
    ([{}], "receipts[0].kind"),
    ([{"process_query_key": "k"}], "receipts[0].kind"),
    ([{**GOOD, "kind": "sms"}], "receipts[0].kind"),
    ([{**GOOD, "kind": None}], "receipts[0].kind"),
    ([{**GOOD, "kind": ["oto"]}], "receipts[0].kind"),
    ([{**GOOD, "kind": {}}], "receipts[0].kind"),
    ([{**GOOD, "kind": 1}], "receipts[0].kind"),
    ([{**GOOD, "kind": "x" * 100_000}], "receipts[0].kind"),
    ([{**GOOD, "version": 3}], "receipts[0].version"),
    ([{**GOOD, "version": "1"}], "receipts[0].version"),
    ([{**GOOD, "version": None}], "receipts[0].version"),
    ([{**GOOD, "process_query_key": None}], "receipts[0].process_query_key"),
    ([{**GOOD, "process_query_key": ""}], "receipts[0].process_query_key"),
    ([{**GOOD, "process_query_key": "  "}], "receipts[0].process_query_key"),
    ([{**GOOD, "process_query_key": 5}], "receipts[0].process_query_key"),
    ([{**GOOD, "process_query_key": ["k"]}], "receipts[0].process_query_key"),
    ([{**GOOD, "process_query_key": b"k"}], "receipts[0].process_query_key"),
    ([{**GOOD, "process_query_key": "k\n2"}], "receipts[0].process_query_key"),
    ([{**GOOD, "process_query_key": "\ud800"}], "receipts[0].process_query_key"),
    ([{**GOOD, "process_query_key": "k" * 513}], "receipts[0].process_query_key"),
    ([{"kind": "oto", "process_query_key": "k"}], "receipts[0].robot_code"),
    ([{**GOOD, "robot_code": " "}], "receipts[0].robot_code"),
    ([{**GOOD, "robot_code": 7}], "receipts[0].robot_code"),
    ([{**GOOD, "kind": "group"}], "receipts[0].open_conversation_id"),
    ([{**GOOD, "kind": "private_chat"}], "receipts[0].open_conversation_id"),
    ([{**GOOD, "kind": "ding"}], "receipts[0].open_ding_id"),
    ([{**GOOD, "kind": "work_notification"}], "receipts[0].task_id"),
    ([{**WORK, "task_id": "five"}], "receipts[0].task_id"),
    ([{**WORK, "task_id": True}], "receipts[0].task_id"),
    ([{**WORK, "task_id": -1}], "receipts[0].task_id"),
    ([{**WORK, "task_id": 10**30}], "receipts[0].task_id"),
    ([{**WORK, "task_id": 1.5}], "receipts[0].task_id"),
    ([{**WORK, "task_id": "²"}], "receipts[0].task_id"),
    ([{**WORK, "agent_id": "mine"}], "receipts[0].agent_id"),
    ([{"kind": "work_notification", "task_id": 5}], "receipts[0].agent_id"),
    ([{**GOOD, "sent_at": "yesterday"}], "receipts[0].sent_at"),
    ([{**GOOD, "sent_at": "2026-13-01T00:00:00Z"}], "receipts[0].sent_at"),
    ([{**GOOD, "sent_at": "P1D"}], "receipts[0].sent_at"),
    ([{**GOOD, "sent_at": 1_780_000_000}], "receipts[0].sent_at"),
    ([{**GOOD, "sent_at": []}], "receipts[0].sent_at"),
    ([{**GOOD, "sent_at": "9" * 50}], "receipts[0].sent_at"),
    ([GOOD, {**GOOD, "robot_code": "dingother"}], "receipts"),
    ([GROUP, {**GROUP, "open_conversation_id": "cid2"}], "receipts"),
]

BAD_KEYS: list[tuple[Any, str]] = [
    ("k", "process_query_keys"),
    ("", "process_query_keys"),
    ('"k"', "process_query_keys"),
    ('{"a": 1}', "process_query_keys"),
    ("[" * 100_000, "process_query_keys"),
    (5, "process_query_keys"),
    (True, "process_query_keys"),
    (b"k", "process_query_keys"),
    ({"k": 1}, "process_query_keys"),
    (object(), "process_query_keys"),
    ([None], "process_query_keys[0]"),
    (["k", ""], "process_query_keys[1]"),
    (["k", "   "], "process_query_keys[1]"),
    ([" k"], "process_query_keys[0]"),
    (["k", 5], "process_query_keys[1]"),
    ([1.5], "process_query_keys[0]"),
    ([b"k"], "process_query_keys[0]"),
    ([["k"]], "process_query_keys[0]"),
    ([{"key": "k"}], "process_query_keys[0]"),
    (["k\x00"], "process_query_keys[0]"),
    (["k" * 513], "process_query_keys[0]"),
    ([True], "process_query_keys[0]"),
]

BAD_TASK_IDS: list[tuple[Any, str]] = [
    ("five", "msg_task_id"),
    ("", "msg_task_id"),
    ("-1", "msg_task_id"),
    ("1.5", "msg_task_id"),
    ("²", "msg_task_id"),
    (True, "msg_task_id"),
    (-1, "msg_task_id"),
    (2**63, "msg_task_id"),
    (10**5000, "msg_task_id"),
    ("9" * 5000, "msg_task_id"),
    (1.5, "msg_task_id"),
    ({"task_id": 5}, "msg_task_id"),
    (b"5", "msg_task_id"),
    ("[5", "msg_task_id"),
    ("[[5]]", "msg_task_id[0]"),
    ([5, None], "msg_task_id[1]"),
    ([5, "x"], "msg_task_id[1]"),
]


def send_group(**arguments: Any) -> Any:
    return DingTalkSendGroupMessageOperator(
        task_id="t", **{"open_conversation_id": GROUPS[0], "text": "hello", **arguments}
    )


def send_oto(**arguments: Any) -> Any:
    return DingTalkSendOTOMessagesOperator(task_id="t", **{"user_ids": ["user001"], "text": "hello", **arguments})


def send_private(**arguments: Any) -> Any:
    given = {"open_conversation_id": PRIVATE_CHAT, "cool_app_code": COOL_APP_CODE, "text": "hello", **arguments}
    return DingTalkSendPrivateChatMessageOperator(task_id="t", **given)


def send_work(**arguments: Any) -> Any:
    given = {"user_ids": ["user001"], "text": "hello", **arguments}
    return DingTalkSendWorkNotificationOperator(task_id="t", **given)


def send_ding(**arguments: Any) -> Any:
    return DingTalkSendDingOperator(task_id="t", **{"user_ids": ["user001"], "content": "hello", **arguments})


def group_keys(**arguments: Any) -> Any:
    given = {"process_query_keys": ["k"], "open_conversation_id": GROUPS[0], **arguments}
    return DingTalkRecallGroupMessagesOperator(task_id="t", **given)


BAD: list[tuple[Callable[[], Any], str]] = [
    *[(lambda value=value: rollback(value), field) for value, field in BAD_RECEIPTS],
    *[(lambda value=value: group_keys(process_query_keys=value), field) for value, field in BAD_KEYS],
    *[
        (lambda value=value: DingTalkRecallWorkNotificationOperator(task_id="t", msg_task_id=value), field)
        for value, field in BAD_TASK_IDS
    ],
    (lambda: group_keys(open_conversation_id=None), "open_conversation_id"),
    (lambda: group_keys(open_conversation_id=""), "open_conversation_id"),
    (lambda: group_keys(open_conversation_id=["cid"]), "open_conversation_id"),
    (lambda: group_keys(robot_code=5), "robot_code"),
    (lambda: group_keys(robot_code=" "), "robot_code"),
    (lambda: group_keys(process_query_keys=None, receipts=[GOOD]), "receipts[0].kind"),
    (lambda: group_keys(receipts=[GROUP, {**GROUP, "process_query_key": 5}]), "receipts[1].process_query_key"),
    (
        lambda: DingTalkRecallWorkNotificationOperator(task_id="t", msg_task_id=5, agent_id="mine"),
        "agent_id",
    ),
    (lambda: DingTalkRecallDingOperator(task_id="t", open_ding_ids="d"), "open_ding_ids"),
    (lambda: DingTalkRecallDingOperator(task_id="t", open_ding_ids=["d", ""]), "open_ding_ids[1]"),
    (lambda: rollback([GOOD], on_empty="maybe"), "on_empty"),
    (lambda: rollback([GOOD], on_empty=None), "on_empty"),
    (lambda: rollback([GOOD], fail_on={"lost"}), "fail_on"),
    (lambda: rollback([GOOD], fail_on="recalled"), "fail_on"),
    (lambda: rollback([GOOD], fail_on=5), "fail_on"),
    (lambda: rollback([GOOD], fail_on=None), "fail_on"),
    (lambda: rollback([GOOD], fail_on=[["failed"]]), "fail_on"),
    (lambda: rollback([GOOD], fail_on={"lost", 5, None}), "fail_on"),
    (lambda: rollback(from_tasks=5), "from_tasks"),
    (lambda: rollback(from_tasks=[5]), "from_tasks[0]"),
    (lambda: rollback(from_tasks=""), "from_tasks"),
    (lambda: rollback(from_tasks={"send": 1}), "from_tasks"),
    (lambda: send_group(text=None), "text"),
    (lambda: send_group(text=""), "text"),
    (lambda: send_group(markdown="both"), "text"),
    (lambda: send_group(text=None, msg_key="sampleText"), "msg_param"),
    (lambda: send_group(text=None, msg_key="sampleText", msg_param="no json"), "msg_param"),
    (lambda: send_group(text=None, msg_key="sampleText", msg_param=["content"]), "msg_param"),
    (lambda: send_group(text=None, msg_key="sampleText", msg_param={"contents": "x"}), "msg_param"),
    (lambda: send_group(text=None, msg_key="other", msg_param={"content": object()}), "msg_param"),
    (lambda: send_group(text=None, msg_key="other", msg_param={"content": "\ud800"}), "msg_param"),
    (lambda: send_group(text=None, msg_key="other", msg_param="[" * 100_000), "msg_param"),
    (lambda: send_group(text="x" * 20_000), "msg_param"),
    (lambda: send_group(open_conversation_id=None), "open_conversation_id"),
    (lambda: send_group(open_conversation_id=""), "open_conversation_id"),
    (lambda: send_group(open_conversation_id=[]), "open_conversation_id"),
    (lambda: send_group(open_conversation_id="cid1,cid2"), "open_conversation_id"),
    (lambda: send_group(open_conversation_id=5), "open_conversation_id"),
    (lambda: send_group(open_conversation_id={"cid": 1}), "open_conversation_id"),
    (lambda: send_group(robot_code=5), "robot_code"),
    (lambda: send_group(cool_app_code=5), "cool_app_code"),
    (lambda: send_group(on_unknown_send="perhaps"), "on_unknown_send"),
    (lambda: send_group(on_cleared_send=None), "on_cleared_send"),
    (lambda: send_oto(user_ids=None), "user_ids"),
    (lambda: send_oto(user_ids=[]), "user_ids"),
    (lambda: send_oto(user_ids="None"), "user_ids"),
    (lambda: send_oto(user_ids="null"), "user_ids"),
    (lambda: send_group(open_conversation_id="null"), "open_conversation_id"),
    (lambda: sweep(receipts=[]), "receipts"),
    (lambda: sweep(from_run="a run"), "from_run"),
    (lambda: sweep(from_dag="a DAG"), "from_dag"),
    (lambda: sweep(from_tasks=[]), "from_tasks"),
    (lambda: sweep(since="2026-11-21T09:00:00Z"), "since"),
    (lambda: sweep(until="2026-11-21T09:00:00Z"), "until"),
    (lambda: send_oto(user_ids="[user001]"), "user_ids"),
    (lambda: send_oto(user_ids=["user001", None]), "user_ids[1]"),
    (lambda: send_oto(user_ids=["user001", 5]), "user_ids[1]"),
    (lambda: send_oto(user_ids=[["user001"]]), "user_ids[0]"),
    (lambda: send_oto(user_ids=5), "user_ids"),
    (lambda: send_oto(user_ids="user001,user002"), "user_ids"),
    (lambda: send_oto(one_receipt_per_user="perhaps"), "one_receipt_per_user"),
    (lambda: send_oto(one_receipt_per_user=None), "one_receipt_per_user"),
    (lambda: send_private(cool_app_code=None), "cool_app_code"),
    (lambda: send_private(cool_app_code=" "), "cool_app_code"),
    (lambda: send_work(user_ids=None), "user_ids"),
    (lambda: send_work(to_all_user=True), "user_ids"),
    (lambda: send_work(user_ids=None, to_all_user="perhaps"), "to_all_user"),
    (lambda: send_work(user_ids=None, to_all_user="False"), "user_ids"),
    (lambda: send_work(user_ids=None, to_all_user=1), "to_all_user"),
    (lambda: send_work(agent_id="mine"), "agent_id"),
    (lambda: send_work(agent_id=True), "agent_id"),
    (lambda: send_work(dept_ids=[]), "dept_ids"),
    (lambda: send_work(dept_ids=["1,2"]), "dept_ids"),
    (lambda: send_work(dept_ids=[1.5]), "dept_ids"),
    (lambda: send_work(text=None, msg={"text": {"content": "x"}}), "msg"),
    (lambda: send_work(text=None, msg={"msgtype": "text"}), "msg"),
    (lambda: send_work(text=None, msg={"msgtype": ["text"]}), "msg"),
    (lambda: send_work(text=None, msg="no json"), "msg"),
    (lambda: send_work(text="x" * 3000), "msg"),
    (lambda: send_ding(content=""), "content"),
    (lambda: send_ding(content=None), "content"),
    (lambda: send_ding(content=5), "content"),
    (lambda: send_ding(remind_type="fax"), "remind_type"),
    (lambda: send_ding(remind_type=["app"]), "remind_type"),
    (lambda: send_ding(remind_type=1), "remind_type"),
    (lambda: send_ding(user_ids={}), "user_ids"),
]


@pytest.mark.parametrize(("make", "field"), BAD, ids=[f"{number}-{field}" for number, (_, field) in enumerate(BAD)])
def test_bad_input_fails_for_good_by_the_name_of_the_field_before_the_first_call(
    sandbox: SandboxServer, connect: Connect, make: Callable[[], Any], field: str
) -> None:
    # The same for all: Airflow's masker of secrets gets slower with each connection that it sees.
    connect(extra={"test": "bad input"})
    operator = make()
    with pytest.raises(AirflowFailException) as raised:
        run(operator)
    text = str(raised.value)
    # One value without a list around it is the first of a list of one.
    assert re.match(rf"{re.escape(field)}(\[0\])?: ", text), text[:200]
    assert len(text) < 500, "an error is for people"
    assert raised.value.__cause__ is not None
    assert calls(sandbox) == {}


def test_without_a_robot_anywhere_the_error_names_it(sandbox: SandboxServer, connect: Connect) -> None:
    connect(extra={"robot_code": None, "agent_id": None})
    for operator, field in ((group_keys(), "robot_code"), (send_oto(), "robot_code"), (send_work(), "agent_id")):
        with pytest.raises(AirflowFailException, match=f"^{field}: is missing"):
            run(operator)
    assert calls(sandbox) == {}


# ── sending ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("store", [True, False], ids=["3.3", "3.1"])
@pytest.mark.parametrize(
    ("make", "kind", "number"),
    [
        (send_group, Kind.GROUP, 1),
        (lambda: send_group(open_conversation_id=list(GROUPS)), Kind.GROUP, 3),
        (lambda: send_group(open_conversation_id=json.dumps(GROUPS)), Kind.GROUP, 3),
        (send_oto, Kind.OTO, 1),
        (lambda: send_oto(user_ids=[f"user{n:03}" for n in range(1, 46)]), Kind.OTO, 3),
        (lambda: send_oto(user_ids='["user001", "user002", "user001"]', one_receipt_per_user=True), Kind.OTO, 2),
        (lambda: send_oto(user_ids=["user001", "user002"], one_receipt_per_user="True"), Kind.OTO, 2),
        (lambda: send_oto(user_ids=["user001", "user002"], one_receipt_per_user="False"), Kind.OTO, 1),
        (send_private, Kind.PRIVATE_CHAT, 1),
        (send_work, Kind.WORK_NOTIFICATION, 1),
        (lambda: send_work(user_ids=None, to_all_user="True"), Kind.WORK_NOTIFICATION, 1),
        (lambda: send_work(user_ids=None, dept_ids=[1]), Kind.WORK_NOTIFICATION, 1),
        (send_ding, Kind.DING, 1),
    ],
)
def test_every_send_returns_and_pushes_receipts_that_a_rollback_takes_back(
    sandbox: SandboxServer, make: Callable[[], Any], kind: Kind, number: int, store: bool
) -> None:
    ti = TaskInstance()
    receipts = run(make(), ti, store=store)
    assert [receipt["kind"] for receipt in receipts] == [kind.value] * number
    assert all(receipt["version"] == 2 and receipt["sent_at"].endswith("Z") for receipt in receipts)
    assert (ti.pushed("receipts_0"), ti.pushed("receipts_count")) == (receipts, number)
    assert set(ti.keys) == {"receipts_0", "receipts_count"}
    assert len(sandbox.state.messages) == number
    report = run(rollback(receipts))
    assert report["counts"]["recalled"] == number
    assert all(is_recalled(sandbox, receipt) for receipt in receipts)


@pytest.mark.parametrize("store", [True, False], ids=["3.3", "3.1"])
def test_receipts_are_pushed_before_the_next_call_in_hundreds(sandbox: SandboxServer, store: bool) -> None:
    people = sandbox.state.ensure_people(201)
    ti = TaskInstance(on_push=lambda: calls(sandbox).get(OTO_SEND, 0))
    receipts = run(send_oto(user_ids=people, one_receipt_per_user=True), ti, store=store)
    assert len(receipts) == 201
    counted = [(value, seen) for key, value, seen in ti.pushes if key == "receipts_count"]
    assert counted == [(number, number) for number in range(1, 202)], "one push after each call, before the next"
    for number, chunk in enumerate((receipts[:100], receipts[100:200], receipts[200:])):
        pushed = [value for key, value, _ in ti.pushes if key == f"receipts_{number}"]
        assert pushed == [chunk[: length + 1] for length in range(len(chunk))]


def test_people_left_out_are_pushed_and_fail_the_task_only_if_asked(sandbox: SandboxServer) -> None:
    sandbox.state.flow_controlled.add("user002")
    sandbox.state.filtered.add("user003")
    people = ["user001", "user002", "user003", "nobody"]
    dropped = {"user002": "flow_controlled", "user003": "filtered", "nobody": "invalid"}
    ti = TaskInstance()
    (receipt,) = run(send_oto(user_ids=people), ti)
    assert ti.pushed("dropped") == dropped
    assert receipt["recipients"] == 1
    ti = TaskInstance()
    with pytest.raises(AirflowFailException, match="left out 3 people") as raised:
        run(send_oto(user_ids=people, fail_on_dropped=True), ti)
    assert isinstance(raised.value.__cause__, DroppedReceiversError)
    assert ti.pushed("dropped") == dropped
    assert ti.pushed("receipts_count") == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_send_without_an_answer_is_pushed_as_unknown_and_never_repeated(sandbox: SandboxServer, when: str) -> None:
    sandbox.faults({"action": {"type": "drop"}, "match": GROUP_SEND, "nth": [2], "when": when})
    ti = TaskInstance()
    with pytest.raises(AirflowFailException, match="Sent 2, refused 0, unknown 1") as raised:
        run(send_group(open_conversation_id=list(GROUPS)), ti)
    assert isinstance(raised.value.__cause__, IncompleteSendError)
    (unknown,) = ti.pushed("unknown")
    assert (unknown["to"], unknown["code"]) == ([GROUPS[1]], "no_answer")
    pushed = [receipt["open_conversation_id"] for receipt in ti.pushed("receipts_0")]
    assert pushed == [GROUPS[0], GROUPS[2]]
    assert calls(sandbox)[GROUP_SEND] == 3


def test_a_refused_send_keeps_the_receipts_of_what_went_out(sandbox: SandboxServer) -> None:
    ti = TaskInstance()
    with pytest.raises(AirflowFailException) as raised:
        run(send_group(open_conversation_id=[GROUPS[0], "cidnowhere", GROUPS[1]]), ti)
    assert isinstance(raised.value.__cause__, IncompleteSendError)
    assert [receipt["open_conversation_id"] for receipt in ti.pushed("receipts_0")] == list(GROUPS[:2])
    (refused,) = ti.pushed("refused")
    assert (refused["to"], refused["code"]) == (["cidnowhere"], "invalid.openConversationId")
    assert "cidnowhere (invalid.openConversationId)" in str(raised.value)
    assert run(rollback(ti.pushed("receipts_0")))["counts"]["recalled"] == 2


def test_a_send_that_found_no_connection_may_be_tried_again(connect: Connect) -> None:
    connect(host="http://127.0.0.1:1")
    with pytest.raises(IncompleteSendError) as raised:
        run(send_group())
    assert not raised.value.permanent


def test_twenty_people_share_a_call(sandbox: SandboxServer) -> None:
    people = sandbox.state.ensure_people(2 * MAX_USERS_PER_OTO_SEND + 1)
    receipts = run(send_oto(user_ids=people))
    assert [receipt["recipients"] for receipt in receipts] == [20, 20, 1]
    assert calls(sandbox) == {TOKEN_API: 1, OTO_SEND: 3}


# ── only if something failed ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("send", r"from_tasks\[0\]: is 'send', no task of this DAG; 'group.send' is"),
        (["group.send", "sent"], r"from_tasks\[1\]: is 'sent', no task of this DAG"),
    ],
)
def test_a_task_that_is_none_of_the_dag_is_refused_although_nothing_failed(
    sandbox: SandboxServer, named: Any, told: str
) -> None:
    from airflow.sdk import DAG, BaseOperator, TaskGroup

    with DAG("dag", schedule=None):
        with TaskGroup("group"):
            BaseOperator(task_id="send")
        undo = rollback(from_tasks=named, only_if_failed=True)
    with pytest.raises(AirflowFailException, match=told):
        run(undo)
    assert calls(sandbox) == {}


@pytest.mark.parametrize(
    ("states", "recalls"),
    [
        ({"send": "success", "check": "success"}, False),
        ({"send": "success", "check": "failed"}, True),
        ({"send": "failed", "check": "upstream_failed"}, True),
        ({"send": "success", "check": "skipped"}, False),
        ({"send": "success", "check": "success", "other": "failed"}, False),
        ({"send": "success", "check_0": "success", "check_1": "failed"}, True),
        ({"send": "success", "check_list": "failed"}, False),
        ({}, False),
    ],
)
def test_only_if_failed_looks_at_the_tasks_upstream(
    sandbox: SandboxServer, states: dict[str, str], recalls: bool
) -> None:
    from airflow.sdk import DAG

    receipts = planted(sandbox, "oto")
    with DAG("rolled_back", schedule=None):
        send, check = (DingTalkSendOTOMessagesOperator(task_id=name, user_ids=["u"]) for name in ("send", "check"))
        undo = rollback(receipts, only_if_failed=True)
        send >> check >> undo
    ti = TaskInstance("rollback", states=states)
    if recalls:
        assert run(undo, ti)["counts"]["recalled"] == 1
    else:
        assert run(undo, ti) == {"kept": 0}
        assert calls(sandbox) == {}
