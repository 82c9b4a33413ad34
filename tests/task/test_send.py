"""Refused recipients, corrected lists and retries: progress is stored for each recipient."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import IncompleteSendError
from airflow_provider_dingtalk.operators import DingTalkSendGroupMessageOperator
from airflow_provider_dingtalk.sandbox.default import GROUPS
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.version_compat import AirflowFailException
from tests.support.airflow_seams import TaskStateStore, calls, context
from tests.support.connections import Connect
from tests.support.task_sends import STAYED, got, send, try_number

pytestmark = pytest.mark.usefixtures("hook")


@pytest.fixture
def sandbox(sandbox: SandboxServer) -> SandboxServer:
    """Make the sandbox refuse calls with an unknown recipient."""
    sandbox.state.behaviour = sandbox.state.behaviour.changed({"unknown_receivers": "refused"})
    return sandbox


OTO_SEND = "robot/oToMessages/batchSend"
GROUP_SEND = "robot/groupMessages/send"


# ── refused receivers ────────────────────────────────────────────────────────────────────────────────


def test_a_refused_person_is_named_and_the_others_are_served(sandbox: SandboxServer) -> None:
    ti = try_number(1)
    with pytest.raises(AirflowFailException, match=r"left \(staffId.notExisted\)") as raised:
        send(ti, TaskStateStore())
    assert isinstance(raised.value.__cause__, IncompleteSendError)
    assert got(sandbox) == Counter(STAYED)
    (refused,) = ti.pushed("refused")
    assert (refused["to"], refused["code"]) == (["left"], "staffId.notExisted")
    assert ti.pushed("receipts_count") == 3


def test_refused_people_need_not_fail_the_task(sandbox: SandboxServer) -> None:
    ti = try_number(1)
    assert len(send(ti, TaskStateStore(), fail_on_refused=False)) == 3
    assert [one["to"] for one in ti.pushed("refused")] == [["left"]]
    with pytest.raises(AirflowFailException):
        send(try_number(1), TaskStateStore(), ["left"], fail_on_refused=False)


@pytest.mark.parametrize("fails", [True, False])
def test_a_refused_group_is_named_and_the_others_are_served(sandbox: SandboxServer, fails: bool) -> None:
    ti = try_number(1)
    operator = DingTalkSendGroupMessageOperator(
        task_id="t", open_conversation_id=[GROUPS[0], "cidgone", GROUPS[1]], text="hello", fail_on_refused=fails
    )
    if fails:
        with pytest.raises(AirflowFailException, match="cidgone"):
            operator.execute(context(ti))
    else:
        operator.execute(context(ti))
    assert [one["to"] for one in ti.pushed("refused")] == [["cidgone"]]
    assert ti.pushed("receipts_count") == 2


def test_a_page_that_is_refused_for_one_of_its_people_is_halved_until_that_one_is_found(
    sandbox: SandboxServer,
) -> None:
    people = sandbox.state.ensure_people(40)
    ti = try_number(1)
    with pytest.raises(AirflowFailException, match=r"gone \("):
        send(ti, TaskStateStore(), [*people[:7], "gone", *people[7:]], one_receipt_per_user=False)
    assert got(sandbox) == Counter(people)
    assert [one["to"] for one in ti.pushed("refused")] == [["gone"]]
    # 3 pages, and 2 calls more for each halving.
    assert calls(sandbox)[OTO_SEND] <= 3 + 2 * 5


def test_what_concerns_all_receivers_still_stops(sandbox: SandboxServer) -> None:
    refusal = {"type": "status", "status": 403, "code": "Forbidden.AccessDenied.AccessTokenPermissionDenied"}
    sandbox.faults({"match": OTO_SEND, "action": refusal})
    with pytest.raises(AirflowFailException, match="not begun 3"):
        send(try_number(1), TaskStateStore())
    assert calls(sandbox)[OTO_SEND] == 1


# ── corrected lists ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("one_each", [True, False])
@pytest.mark.parametrize("mended", [STAYED, list(reversed(STAYED)), ["user005", *STAYED], [*STAYED, "user005"]])
def test_a_mended_list_sends_only_what_is_missing(sandbox: SandboxServer, mended: list[str], one_each: bool) -> None:
    store = TaskStateStore()
    with pytest.raises(AirflowFailException):
        send(try_number(1), store, one_receipt_per_user=one_each)
    ti = try_number(2, clears=1)
    receipts = send(ti, store, mended, one_receipt_per_user=one_each)
    assert got(sandbox) == Counter(mended), "each receiver once"
    assert ti.pushed("receipts_count") == len(receipts) == len(sandbox.state.messages)


def test_pages_that_shift_reach_nobody_twice(sandbox: SandboxServer) -> None:
    people = sandbox.state.ensure_people(100)
    store = TaskStateStore()
    refusal = {"type": "status", "status": 403, "code": "Forbidden.AccessDenied.AccessTokenPermissionDenied"}
    sandbox.faults({"match": OTO_SEND, "nth": [3, 4, 5], "action": refusal})
    with pytest.raises(AirflowFailException, match="Sent 2, refused 3"):
        send(try_number(1), store, people[10:], one_receipt_per_user=False)
    assert sum(got(sandbox).values()) == 40
    sandbox.faults()
    assert len(send(try_number(2), store, people, one_receipt_per_user=False)) == len(sandbox.state.messages)
    assert got(sandbox) == Counter(people)


def test_people_who_got_it_and_left_the_list_can_still_be_recalled(sandbox: SandboxServer) -> None:
    store = TaskStateStore()
    with pytest.raises(AirflowFailException):
        send(try_number(1), store)
    ti = try_number(2, clears=1)
    send(ti, store, ["user003"])
    assert ti.pushed("receipts_count") == 3
    assert got(sandbox) == Counter(STAYED)


def test_a_list_that_was_sent_whole_is_not_sent_again_by_a_clear(sandbox: SandboxServer) -> None:
    store = TaskStateStore()
    send(try_number(1), store, STAYED)
    with pytest.raises(AirflowFailException, match="had sent everything"):
        send(try_number(2, clears=1), store, list(reversed(STAYED)))
    send(try_number(3, clears=2), store, STAYED, on_cleared_send="resend")
    assert got(sandbox) == Counter(STAYED * 2)
    assert len(send(try_number(4, clears=2), store, STAYED, on_cleared_send="resend")) == 6, "a retry of that"
    assert got(sandbox) == Counter(STAYED * 2)


# ── not sent ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_retry_with_another_text_sends_if_nothing_was_sent(sandbox: SandboxServer) -> None:
    store = TaskStateStore()
    sandbox.faults({"match": "oauth2/accessToken", "action": {"type": "status", "status": 500}})
    with pytest.raises(IncompleteSendError) as raised:
        send(try_number(1), store, STAYED, text="Attempt 1")
    assert not raised.value.permanent
    sandbox.faults()
    assert len(send(try_number(2), store, STAYED, text="Attempt 2")) == 3
    with pytest.raises(AirflowFailException, match="sent something else"):
        send(try_number(3), store, STAYED, text="Attempt 3")
    assert got(sandbox) == Counter(STAYED)


def test_a_retry_with_another_text_is_refused_if_something_may_have_been_sent(sandbox: SandboxServer) -> None:
    store = TaskStateStore()
    sandbox.faults({"match": OTO_SEND, "when": "after", "action": {"type": "drop"}})
    with pytest.raises(AirflowFailException, match="unknown 1"):
        send(try_number(1), store, ["user001"], text="Attempt 1")
    sandbox.faults()
    ti = try_number(2)
    with pytest.raises(AirflowFailException, match="or may have"):
        send(ti, store, ["user001"], text="Attempt 2")
    assert [one["to"] for one in ti.pushed("unknown")] == [["user001"]]
    assert got(sandbox) == Counter(["user001"])


@pytest.mark.parametrize("sent", [1, 2])
def test_operators_called_in_another_order_at_the_next_try_send_what_is_missing(
    sandbox: SandboxServer, sent: int
) -> None:
    store, groups = TaskStateStore(), [*GROUPS[:2]]

    def call_operators(number: int, targets: list[str]) -> None:
        task = {**context(try_number(number)), "task_state_store": store}
        for group in targets:
            DingTalkSendGroupMessageOperator(task_id="t", open_conversation_id=group, text=f"hello {group}").execute(
                task
            )

    call_operators(1, groups[:sent])
    call_operators(2, groups[::-1])
    assert Counter(message.open_conversation_id for message in sandbox.state.messages.values()) == Counter(groups)


def test_two_texts_for_one_group_in_another_order_are_not_sent_twice(sandbox: SandboxServer) -> None:
    store = TaskStateStore()
    for number, texts in ((1, ["one", "two"]), (2, ["two", "one"])):
        task = {**context(try_number(number)), "task_state_store": store}
        for text in texts:
            DingTalkSendGroupMessageOperator(task_id="t", open_conversation_id=GROUPS[0], text=text).execute(task)
    assert len(sandbox.state.messages) == 2


# ── no recipients ────────────────────────────────────────────────────────────────────────────────────


def test_a_send_that_reached_nobody_fails(sandbox: SandboxServer) -> None:
    sandbox.state.behaviour = sandbox.state.behaviour.changed({"unknown_receivers": "listed"})
    ti = try_number(1)
    with pytest.raises(AirflowFailException, match=r"reached no recipient.*张三"):
        send(ti, TaskStateStore(), ["张三"])
    assert ti.pushed("dropped") == {"张三": "invalid"}
    assert ti.pushed("receipts_count") == 1
    (receipt,) = send(try_number(1), TaskStateStore(), ["张三"], fail_on_unreached=False)
    assert receipt["recipients"] == 0
    assert len(send(try_number(1), TaskStateStore(), ["张三", "user001"])) == 2


@pytest.mark.parametrize(("key", "value"), [
    ("dingtalk-send-2", []),
    ("dingtalk-send-2", {"version": 2}),
    ("dingtalk-send-2", {"version": 2, "jobs": [{"name": 5}]}),
    ("dingtalk-send-2", "text"),
    ("dingtalk-send-2-sent-0", {"sent": []}),
    ("dingtalk-send-2-sent-0", {"sent": [], "in_flight": [{"n": 2**62}]}),
    ("dingtalk-send-2-sent-0", {"sent": [], "in_flight": [{"n": 9, "job": 7, "epoch": 0, "content": "", "to": ["a"]}]}),
    ("dingtalk-send-2-flight", {"7": 2**62}),
    ("dingtalk-send-2-flight", [{"n": 2**62}]),
    ("dingtalk-send-2-flight", [{"n": 9, "job": 7, "epoch": 0, "content": "x", "to": ["a"]}]),
    ("dingtalk-send-2-sent-0", [1]),
    ("dingtalk-send-2-sent-0", [{"n": 0, "job": 0, "epoch": 0, "content": "x", "to": ["a"], "receipt": {}}]),
    ("dingtalk-send-1", "text"),
    ("dingtalk-send-1", [{"request": "x", "letters": 2**62, "epoch": 0}]),
])  # fmt: skip
def test_state_that_is_not_ours_stops_the_task_before_any_call(sandbox: SandboxServer, key: str, value: Any) -> None:
    store = TaskStateStore()
    if key.startswith("dingtalk-send-2-"):
        send(try_number(1), store, ["user001"])
        sandbox.state.reset()
        sandbox.state.behaviour = sandbox.state.behaviour.changed({"calls_per_second": 0})
    if key.endswith("-flight"):
        store.set("dingtalk-send-2-sent-0", [])  # a row of the version that used this key
    store.set(key, value)
    with pytest.raises(AirflowFailException, match="what this package did not write"):
        send(try_number(2), store, ["user001"])
    assert got(sandbox) == Counter()


def test_a_connection_that_is_refused_is_not_sent(connect: Connect) -> None:
    connect(host="http://127.0.0.1:1")
    store = TaskStateStore()
    with pytest.raises(IncompleteSendError) as raised:
        send(try_number(1), store)
    assert not raised.value.permanent
