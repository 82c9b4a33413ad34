"""Receipts of accepted messages reach every store that is available."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import CheckpointError, IncompleteSendError, SupersededError
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.jobs.checkpoint import AcceptedSend
from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.messages.send_request import Address
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.task.checkpoint.send import CALLS_PER_ROW, TaskSends
from airflow_provider_dingtalk.task.send import SendPolicy, SendTask
from airflow_provider_dingtalk.version_compat import AirflowTaskTimeout
from tests.faults.crash_points import HastyClock
from tests.support.airflow_seams import TaskInstance, TaskStateStore, calls, context
from tests.support.interruptions import raising_on_alarm
from tests.support.local_dingtalk import receipt_for

SEND = "robot/oToMessages/batchSend"
PEOPLE = ["user001", "user002", "user003"]


class FailingStore(TaskStateStore):
    """Store with given failures.

    :param fails: Called with the key of each write, or ``accepted`` if it has a receipt; it may raise.
    """

    def __init__(self, fails: Callable[[str], None]) -> None:
        super().__init__()
        self.fails = fails

    def set(self, key: str, value: Any) -> None:
        self.fails("accepted" if isinstance(value, dict) and value.get("sent") else key)
        super().set(key, value)


class FailingTask(TaskInstance):
    """Task instance with given failures of XComs."""

    def __init__(self, fails: Callable[[str], None]) -> None:
        super().__init__()
        self.fails = fails

    def xcom_push(self, key: str, value: Any) -> None:
        self.fails(key)
        super().xcom_push(key, value)


def failing(what: str, times: int = 10**9, error: str = "API_SERVER_ERROR: 500") -> Callable[[str], None]:
    """Fail writes under keys that contain a text, some times."""
    left = [times]

    def fail(key: str) -> None:
        if what in key and left[0] > 0:
            left[0] -= 1
            raise RuntimeError(error)

    return fail


def nothing(key: str) -> None:
    """Fail never."""


def send(hook: DingTalkHook, ti: TaskInstance, store: TaskStateStore) -> list[dict[str, Any]]:
    send_requests = hook.send_requests("oto", user_ids=PEOPLE, one_receipt_per_user=True, text="hello")
    task = {**context(ti), "task_state_store": store}
    return SendTask(send_requests, task, SendPolicy(), clock=HastyClock()).run(hook)


def keys_in_chat(sandbox: SandboxServer) -> list[str]:
    return [str(key) for key in sandbox.state.messages]


def pushed_keys(ti: TaskInstance) -> list[str]:
    return [receipt["process_query_key"] for receipt in ti.pushed("receipts_0")]


def test_a_store_that_fails_after_the_effect_keeps_the_receipt_from_no_other_place(
    sandbox: SandboxServer, hook: DingTalkHook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ti = TaskInstance()
    tries: list[str] = []

    def fail(key: str) -> None:
        if key == "accepted":
            tries.append(key)
            if len(tries) == 30:
                signal.setitimer(signal.ITIMER_REAL, 0.01)
            raise RuntimeError("API_SERVER_ERROR: 500")

    with raising_on_alarm(AirflowTaskTimeout), pytest.raises(AirflowTaskTimeout):
        send(hook, ti, FailingStore(fail))
    (key,) = keys_in_chat(sandbox)
    assert pushed_keys(ti) == [key]
    assert any(key in record.message and record.message.startswith("DingTalk accepted") for record in caplog.records)
    warned = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert any(key in message and "robot_code" in message for message in warned), "the whole receipt"


@pytest.mark.parametrize(("store", "xcom"), [("accepted", "-"), ("-", "receipts"), ("accepted", "receipts")])
def test_a_place_that_fails_for_a_while_has_all_receipts_in_the_end(
    sandbox: SandboxServer, hook: DingTalkHook, store: str, xcom: str
) -> None:
    ti = FailingTask(failing(xcom, 4))
    kept = FailingStore(failing(store if store != "-" else "no key", 4))
    receipts = send(hook, ti, kept)
    keys = sorted(keys_in_chat(sandbox))
    assert sorted(pushed_keys(ti)) == keys == sorted(receipt["process_query_key"] for receipt in receipts)
    again = TaskInstance()
    kept.fails = nothing
    assert send(hook, again, kept) == receipts
    assert calls(sandbox)[SEND] == 3, "nothing is sent twice"


def test_no_further_call_goes_out_before_the_store_has_the_receipt(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    seen: list[int] = []

    def fail(key: str) -> None:
        if key == "accepted" and len(seen) < 3:
            seen.append(calls(sandbox)[SEND])
            raise RuntimeError("API_SERVER_ERROR: 500")

    send(hook, TaskInstance(), FailingStore(fail))
    assert seen == [1, 1, 1]


class Stall:
    """Store that does not answer; the task times out at its first call."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.is_over = threading.Event()

    def __call__(self, key: str) -> None:
        if self._what in key and not self.is_over.is_set():
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            self.is_over.wait(60)
            raise RuntimeError("API_SERVER_ERROR: 503")


def test_a_timeout_while_the_store_stalls_loses_no_receipt(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    ti, stall = TaskInstance(), Stall("accepted")
    with raising_on_alarm(AirflowTaskTimeout), pytest.raises(AirflowTaskTimeout):
        send(hook, ti, FailingStore(stall))
    assert sorted(pushed_keys(ti)) == sorted(keys_in_chat(sandbox))
    assert len(keys_in_chat(sandbox)) == 1
    stall.is_over.set()


def test_a_timeout_while_the_xcoms_fail_gives_them_one_more_try(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    interrupted = threading.Event()

    def fail(key: str) -> None:
        if key == "receipts_0" and not interrupted.is_set():
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            interrupted.wait(1)
            interrupted.set()
            raise RuntimeError("API_SERVER_ERROR: 503")

    ti = FailingTask(fail)
    with raising_on_alarm(AirflowTaskTimeout), pytest.raises(AirflowTaskTimeout):
        send(hook, ti, TaskStateStore())
    assert sorted(pushed_keys(ti)) == sorted(keys_in_chat(sandbox))


def test_a_superseded_try_keeps_its_last_receipt_beside_those_of_the_new_one(
    sandbox: SandboxServer, hook: DingTalkHook
) -> None:
    ti = TaskInstance()
    gone = failing("accepted", error="API_SERVER_ERROR: {'status_code': 404, 'message': 'Task instance not found'}")
    with pytest.raises(SupersededError):
        send(hook, ti, FailingStore(gone))
    (late,) = ti.pushed("receipts_late")
    assert [late["process_query_key"]] == keys_in_chat(sandbox)
    assert "receipts_0" not in ti.keys, "those are the new try's"


def test_late_receipts_of_two_tries_are_both_kept(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    xcoms: dict[tuple[str, str], list[Any]] = {}
    for _ in range(2):
        gone = failing("accepted", error="status_code: 404")
        with pytest.raises(SupersededError):
            send(hook, TaskInstance(xcoms=xcoms), FailingStore(gone))
    (late,) = xcoms["task", "receipts_late"]
    assert [receipt["process_query_key"] for receipt in late] == keys_in_chat(sandbox)


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────────


def row_of(number: int) -> str:
    return f"dingtalk-send-2-sent-{number}"


def test_rows_of_the_version_before_are_taken_over(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    store = TaskStateStore()
    send(hook, TaskInstance(), store)
    *accepted, last = store.get(row_of(0))["sent"]
    store.set(row_of(0), accepted)
    store.set("dingtalk-send-2-flight", [{name: last[name] for name in ("n", "job", "epoch", "content", "to")}])
    for _ in range(2):
        ti = TaskInstance()
        with pytest.raises(IncompleteSendError, match="Sent 2, refused 0, unknown 1"):
            send(hook, ti, store)
        assert [one["to"] for one in ti.pushed("unknown")] == [last["to"]]
    assert calls(sandbox)[SEND] == 3, "nothing is sent again"


def accepted(number: int) -> AcceptedSend:
    return AcceptedSend(receipt_for(Kind.OTO, f"key{number}"), Address("content", (f"user{number}",)))


@pytest.mark.parametrize("fails_at", range(3))
def test_a_write_of_two_rows_that_breaks_off_leaves_each_call_accepted_or_in_flight(fails_at: int) -> None:
    number_of_calls, left = 2 * CALLS_PER_ROW + 20, [10**9]

    def fail(key: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("API_SERVER_ERROR: 500")

    store = FailingStore(fail)
    job = TaskSends(store, 0).hook_job()
    sent = {number: accepted(number) for number in range(number_of_calls)}
    job.write_now({number: one.address for number, one in sent.items()})
    left[0] = fails_at
    with pytest.raises(CheckpointError):
        job.write_now(sent)
    found = TaskSends(store, 0)
    assert sorted([*found.accepted, *found.in_flight]) == list(sent)
    assert bool(found.accepted) is bool(fails_at)
    left[0] = 10**9
    job.write_now({})
    found = TaskSends(store, 0)
    assert (sorted(found.accepted), found.in_flight) == (list(sent), {})


def test_a_kill_between_two_rows_leaves_no_call_in_doubt_that_was_not_begun() -> None:
    left = [10**9]

    def fail(key: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("killed")

    store = FailingStore(fail)
    job = TaskSends(store, 0).hook_job()
    sent = {number: accepted(number) for number in range(CALLS_PER_ROW + 5)}
    job.write_now({number: one.address for number, one in sent.items()})
    left[0] = 1
    more = {number: Address("content", (f"user{number}",)) for number in range(1000, 1020)}
    with pytest.raises(CheckpointError):
        job.write_now({**sent, **more})
    found = TaskSends(store, 0)
    assert (len(found.accepted), len(found.in_flight)) == (CALLS_PER_ROW, 5)


def test_an_intent_that_is_not_stored_is_forgotten() -> None:
    store = FailingStore(nothing)
    sends = TaskSends(store, 0)
    first, second = sends.hook_job(), sends.hook_job()
    store.fails = failing("sent")
    with pytest.raises(CheckpointError):
        first.write_now({0: Address("content", ("never called",))})
    store.fails = nothing
    second.write_now({0: Address("content", ("called",))})
    assert [call.to for call in TaskSends(store, 0).in_flight.values()] == [("called",)]
