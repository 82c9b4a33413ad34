"""Sends inside a running task register their receipts with it as soon as DingTalk accepts them."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.execution_time.context import set_current_context

from airflow_provider_dingtalk.exceptions import DroppedReceiversError, IncompleteSendError
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.notifications import DingTalkNotifier
from airflow_provider_dingtalk.operators import (
    DingTalkRollbackOperator,
    DingTalkSendGroupMessageOperator,
    DingTalkSendOTOMessagesOperator,
)
from airflow_provider_dingtalk.sandbox.default import GROUPS
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from tests.faults.file_store import FileStore
from tests.support.airflow_seams import TaskInstance, TaskStateStore, calls, context

GROUP_SEND = "robot/groupMessages/send"


@contextmanager
def task(ti: TaskInstance, store: TaskStateStore | None = None, **more: Any) -> Iterator[Any]:
    """A running task."""
    inside = {**context(ti, store=False), **({"task_state_store": store} if store else {}), **more}
    with set_current_context(inside):
        yield inside


def keys_in_chat(sandbox: SandboxServer) -> set[str]:
    return {str(key) for key in sandbox.state.messages}


def registered(ti: TaskInstance) -> list[str]:
    """Return the keys of all receipts as a rollback finds them."""
    found: list[dict[str, Any]] = []
    for number in range((ti.pushed("receipts_count") + 99) // 100):
        found += ti.pushed(f"receipts_{number}")
    assert len(found) == ti.pushed("receipts_count")
    return [receipt["process_query_key"] for receipt in found]


def to_group(hook: DingTalkHook, text: str = "hello") -> Any:
    return hook.send("group", open_conversation_id=GROUPS[0], text=text)


@pytest.mark.parametrize("store", [TaskStateStore, lambda: None], ids=["3.3", "3.1"])
def test_all_sends_of_a_task_are_registered_one_after_the_other(
    sandbox: SandboxServer, hook: DingTalkHook, store: Any
) -> None:
    ti = TaskInstance()
    with task(ti, store()):
        to_group(hook)
        assert len(registered(ti)) == 1, "the moment DingTalk accepts it"
        DingTalkHook().send("group", open_conversation_id=list(GROUPS), text="again")
    assert set(registered(ti)) == keys_in_chat(sandbox)
    assert len(registered(ti)) == 4


@pytest.mark.anyio
async def test_async_sends_side_by_side_are_all_registered(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    ti = TaskInstance()
    with task(ti, TaskStateStore()):
        sends = [hook.asend("group", open_conversation_id=list(GROUPS), text=f"{n}") for n in range(8)]
        await asyncio.gather(*sends)
    assert set(registered(ti)) == keys_in_chat(sandbox)
    assert len(registered(ti)) == 24


def test_sends_of_many_threads_are_all_registered(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    ti = TaskInstance()
    with task(ti, TaskStateStore()), ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: to_group(DingTalkHook(), f"text {n}"), range(40)))
    assert set(registered(ti)) == keys_in_chat(sandbox)
    assert len(registered(ti)) == 40


def test_more_than_a_hundred_are_registered_in_chunks(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    people = sandbox.state.ensure_people(130)
    ti = TaskInstance()
    with task(ti, TaskStateStore()):
        hook.send("oto", user_ids=people, one_receipt_per_user=True, text="hello")
        to_group(hook)
    assert [len(ti.pushed(f"receipts_{number}")) for number in range(2)] == [100, 31]
    assert set(registered(ti)) == keys_in_chat(sandbox)


def test_outside_of_a_task_nothing_is_registered(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    ti = TaskInstance()
    with task(ti):
        pass
    assert len(to_group(hook)) == 1
    assert ti.keys == []


def test_what_an_earlier_try_sent_by_the_hook_is_registered_again(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    store = TaskStateStore()
    with task(TaskInstance(), store):
        to_group(hook)
    second = TaskInstance()
    second.try_number = 2
    with task(second, store):
        to_group(hook)
    assert len(registered(second)) == 2, "Airflow deleted the XComs of the first try"
    assert set(registered(second)) == keys_in_chat(sandbox)


def test_a_lost_answer_of_the_hook_is_noted_as_unknown(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    sandbox.faults({"match": GROUP_SEND, "nth": [2], "when": "after", "action": {"type": "drop"}})
    ti, store = TaskInstance(), TaskStateStore()
    with task(ti, store), pytest.raises(IncompleteSendError):
        hook.send("group", open_conversation_id=list(GROUPS), text="hello")
    (unknown,) = ti.pushed("unknown")
    assert unknown["to"] == [GROUPS[1]]
    assert len(registered(ti)) == 2
    second = TaskInstance()
    with task(second, store):
        to_group(hook, "another one")
    assert [one["to"] for one in second.pushed("unknown")] == [[GROUPS[1]]], "also to the next try"


def test_a_hook_send_that_reaches_nobody_fails_and_is_registered(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    ti = TaskInstance()
    with task(ti, TaskStateStore()), pytest.raises(DroppedReceiversError, match="张三"):
        hook.send("oto", user_ids=["张三"], text="hello")
    assert ti.pushed("dropped") == {"张三": "invalid"}
    assert set(registered(ti)) == keys_in_chat(sandbox)


def test_a_hook_send_tells_the_rollbacks_of_its_block_that_it_sends(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    with DAG("some", schedule=None) as dag:
        DingTalkRollbackOperator(task_id="rollback", from_tasks=["task", "other"], only_if_failed=True)
        DingTalkRollbackOperator(task_id="stranger", from_tasks=["other"])
    ti = TaskInstance()
    with task(ti, TaskStateStore(), dag=dag):
        to_group(hook)
    said = [value for key, value, _ in ti.pushes if key == "sending"]
    assert said == [{"is_over": over, "rollbacks": ["rollback"]} for over in (False, True)]


# ── operators by hand ────────────────────────────────────────────────────────────────────────────────


def by_hand(name: str, text: str) -> DingTalkSendGroupMessageOperator:
    return DingTalkSendGroupMessageOperator(task_id=name, open_conversation_id=GROUPS[0], text=text)


@pytest.mark.parametrize("texts", [("one", "two"), ("the same", "the same")], ids=["two messages", "one message twice"])
@pytest.mark.parametrize("names", [("a", "b"), ("a", "a")], ids=["two names", "one name"])
def test_operators_by_hand_are_all_sent_and_not_repeated_by_a_retry(
    sandbox: SandboxServer, hook: DingTalkHook, texts: tuple[str, str], names: tuple[str, str]
) -> None:
    store = TaskStateStore()
    for number in (1, 2):
        ti = TaskInstance()
        ti.try_number = number
        with task(ti, store) as inside:
            returned = [by_hand(*one).execute(inside) for one in zip(names, texts, strict=True)]
        assert calls(sandbox)[GROUP_SEND] == 2
        assert set(registered(ti)) == keys_in_chat(sandbox)
        assert len(registered(ti)) == 2
        assert [len(receipts) for receipts in returned] == [1, 1]


def test_operators_by_hand_in_another_order_of_receivers_send_nothing_twice(
    sandbox: SandboxServer, hook: DingTalkHook
) -> None:
    store = TaskStateStore()
    for number, groups in enumerate((GROUPS[:2], tuple(reversed(GROUPS))), 1):
        ti = TaskInstance()
        ti.try_number = number
        with task(ti, store) as inside:
            for group in groups:
                DingTalkSendGroupMessageOperator(task_id="one", open_conversation_id=group, text="hello").execute(
                    inside
                )
    assert calls(sandbox)[GROUP_SEND] == 3
    assert set(registered(ti)) == keys_in_chat(sandbox)


def test_an_operator_and_the_hook_in_one_task_share_the_xcoms(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    ti, store = TaskInstance(), TaskStateStore()
    with task(ti, store) as inside:
        to_group(hook)
        DingTalkSendOTOMessagesOperator(task_id="x", user_ids=["user001"], text="hello").execute(inside)
        to_group(hook)
    assert set(registered(ti)) == keys_in_chat(sandbox)
    assert len(registered(ti)) == 3


# ── callbacks ────────────────────────────────────────────────────────────────────────────────────────


def test_a_callback_in_the_tasks_own_process_registers_its_receipt(
    sandbox: SandboxServer, hook: DingTalkHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CTX_TASK_ID", "task")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "run")
    ti = TaskInstance()
    inside = context(ti)
    DingTalkNotifier(to={"open_conversation_id": GROUPS[0]}, text="failed").notify(inside)
    asyncio.run(DingTalkNotifier(to={"open_conversation_id": GROUPS[1]}, text="failed").async_notify(inside))
    assert set(registered(ti)) == keys_in_chat(sandbox)
    assert len(registered(ti)) == 2


@pytest.mark.parametrize(
    ("exception", "keep_on_rollback", "stays"),
    [
        (ValueError("wrong"), None, True),
        (None, None, False),
        (ValueError("wrong"), False, False),
        (None, True, True),
    ],
)
def test_the_rollback_of_a_block_leaves_a_message_that_reports_a_failure(
    sandbox: SandboxServer,
    hook: DingTalkHook,
    monkeypatch: pytest.MonkeyPatch,
    exception: Exception | None,
    keep_on_rollback: bool | None,
    stays: bool,
) -> None:
    monkeypatch.setenv("AIRFLOW_CTX_TASK_ID", "task")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "run")
    ti = TaskInstance()
    inside = {**context(ti), **({"exception": exception} if exception else {})}
    for text in ("first", "second"):
        to = {"open_conversation_id": GROUPS[0]}
        DingTalkNotifier(to=to, text=text, keep_on_rollback=keep_on_rollback).notify(inside)
    key = "alert_receipts" if stays else "receipts_0"
    assert {receipt["process_query_key"] for receipt in ti.pushed(key)} == keys_in_chat(sandbox)
    assert ("receipts_0" in ti.keys) is not stays


def test_a_callback_elsewhere_pushes_nothing(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    # In the DAG processor a push is never answered.
    ti = TaskInstance()
    DingTalkNotifier(to={"open_conversation_id": GROUPS[0]}, text="failed").notify(context(ti))
    assert ti.keys == []
    assert len(keys_in_chat(sandbox)) == 1


@pytest.mark.parametrize(
    ("store", "max_tries", "times"),
    [(None, 1, 1), (None, 0, 0), (TaskStateStore(), 1, 0)],
    ids=["no store", "no retries", "store"],
)
def test_a_task_with_retries_is_told_once_that_they_lose_receipts(
    sandbox: SandboxServer,
    hook: DingTalkHook,
    caplog: pytest.LogCaptureFixture,
    store: TaskStateStore | None,
    max_tries: int,
    times: int,
) -> None:
    ti = TaskInstance()
    ti.max_tries = max_tries
    with task(ti, store):
        to_group(hook)
        to_group(hook)
    assert caplog.text.count("set retries to 0 in tasks that send") == times


# ── forks ────────────────────────────────────────────────────────────────────────────────────────────


class SharedTask(TaskInstance):
    """A task instance whose XComs and state all processes share."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def xcom_push(self, key: str, value: Any) -> None:
        FileStore(self._file).xcom_push(key, value)

    def xcom_pull(self, *, task_ids: list[str], key: str) -> list[Any]:
        return [FileStore(self._file).xcom(key)]


class SharedState:
    """A task state store that all processes share."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def get(self, key: str, default: Any = None) -> Any:
        return FileStore(self._file, 1).get(key, default)

    def set(self, key: str, value: Any) -> None:
        FileStore(self._file, 1).set(key, value)


def test_forked_processes_register_beside_their_task(
    sandbox: SandboxServer, hook: DingTalkHook, tmp_path: Path
) -> None:
    FileStore(tmp_path / "store", 1).begin_try()
    ti, store = SharedTask(tmp_path / "store"), SharedState(tmp_path / "store")
    fork = multiprocessing.get_context("fork")
    with task(ti, store):
        to_group(hook, "before")
        children = [fork.Process(target=to_group, args=(DingTalkHook(), f"child {n}")) for n in range(3)]
        for child in children:
            child.start()
        for child in children:
            child.join(30)
        assert [child.exitcode for child in children] == [0, 0, 0]
        to_group(hook, "after")
    xcoms = FileStore(tmp_path / "store")
    late = [receipt["process_query_key"] for receipt in xcoms.xcom("receipts_late")]
    own = [receipt["process_query_key"] for receipt in xcoms.xcom("receipts_0")]
    assert (len(own), len(late), xcoms.xcom("receipts_count")) == (2, 3, 2)
    assert {*own, *late} == keys_in_chat(sandbox)
    second = TaskInstance()
    second.try_number = 2
    with task(second, store):
        to_group(hook, "the next try")
    assert set(registered(second)) == keys_in_chat(sandbox)
