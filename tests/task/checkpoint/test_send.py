"""Receipts of accepted messages reach every store that is available."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import CheckpointError, SupersededError
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.task.send import SendPolicy, SendTask
from airflow_provider_dingtalk.version_compat import AirflowTaskTimeout
from tests.faults.crash_points import HastyClock
from tests.support.airflow_seams import TaskInstance, TaskStateStore, calls, context
from tests.support.interruptions import raising_on_alarm

SEND = "robot/oToMessages/batchSend"
PEOPLE = ["user001", "user002", "user003"]


class FailingStore(TaskStateStore):
    """Store with given failures.

    :param fails: Called with the key of each write; it may raise.
    """

    def __init__(self, fails: Callable[[str], None]) -> None:
        super().__init__()
        self.fails = fails

    def set(self, key: str, value: Any) -> None:
        self.fails(key)
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
    with pytest.raises(CheckpointError) as raised:
        send(hook, ti, FailingStore(failing("-sent-")))
    (key,) = keys_in_chat(sandbox)
    assert pushed_keys(ti) == [key]
    assert any(key in record.message and record.message.startswith("DingTalk accepted") for record in caplog.records)
    assert key in str(raised.value)
    assert "nothing" not in str(raised.value)
    assert raised.value.permanent, "Airflow would delete the XComs when the next try starts"


@pytest.mark.parametrize(("store", "xcom"), [("-sent-", "-"), ("-", "receipts"), ("-sent-", "receipts")])
def test_a_place_that_fails_for_a_while_has_all_receipts_in_the_end(
    sandbox: SandboxServer, hook: DingTalkHook, store: str, xcom: str
) -> None:
    ti = FailingTask(failing(xcom, 4))
    kept = FailingStore(failing(store if store != "-" else "no key", 4))
    receipts = send(hook, ti, kept)
    assert pushed_keys(ti) == keys_in_chat(sandbox) == [receipt["process_query_key"] for receipt in receipts]
    again = TaskInstance()
    kept.fails = nothing
    assert send(hook, again, kept) == receipts
    assert calls(sandbox)[SEND] == 3, "nothing is sent twice"


def test_no_further_call_goes_out_before_the_receipt_is_kept(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    seen: list[int] = []

    def fail(key: str) -> None:
        if key == "receipts_0" and len(seen) < 3:
            seen.append(calls(sandbox)[SEND])
            raise RuntimeError("API_SERVER_ERROR: 500")

    send(hook, FailingTask(fail), TaskStateStore())
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
    ti, stall = TaskInstance(), Stall("-sent-")
    with raising_on_alarm(AirflowTaskTimeout), pytest.raises(AirflowTaskTimeout):
        send(hook, ti, FailingStore(stall))
    assert pushed_keys(ti) == keys_in_chat(sandbox)
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
    assert pushed_keys(ti) == keys_in_chat(sandbox)


def test_a_superseded_try_keeps_its_last_receipt_beside_those_of_the_new_one(
    sandbox: SandboxServer, hook: DingTalkHook
) -> None:
    ti = TaskInstance()
    gone = failing("-sent-", error="API_SERVER_ERROR: {'status_code': 404, 'message': 'Task instance not found'}")
    with pytest.raises(SupersededError):
        send(hook, ti, FailingStore(gone))
    (late,) = ti.pushed("receipts_late")
    assert [late["process_query_key"]] == keys_in_chat(sandbox)
    assert "receipts_0" not in ti.keys, "those are the new try's"


def test_late_receipts_of_two_tries_are_both_kept(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    xcoms: dict[tuple[str, str], list[Any]] = {}
    for _ in range(2):
        gone = failing("-sent-", error="status_code: 404")
        with pytest.raises(SupersededError):
            send(hook, TaskInstance(xcoms=xcoms), FailingStore(gone))
    (late,) = xcoms["task", "receipts_late"]
    assert [receipt["process_query_key"] for receipt in late] == keys_in_chat(sandbox)
