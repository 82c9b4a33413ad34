"""Registry of the running task, of a callback, and of a forked process."""

from __future__ import annotations

import asyncio
import multiprocessing
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.notifications import DingTalkNotifier
from airflow_provider_dingtalk.operators import DingTalkRecallOTOMessagesOperator, DingTalkRollbackOperator
from airflow_provider_dingtalk.sandbox.default import GROUPS
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.task.rollback_source import of_tasks
from tests.faults.file_store import FileStore
from tests.support.airflow_seams import TaskInstance, context, key_of, planted
from tests.support.registered import keys_in_chat, registered, task, to_group


def test_outside_of_a_task_nothing_is_registered(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    ti = TaskInstance()
    with task(ti):
        pass
    assert len(to_group(hook)) == 1
    assert ti.keys == []


# ── recalls by the hook ──────────────────────────────────────────────────────────────────────────────


def test_what_the_hook_recalled_is_registered_call_after_call(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    ti, (first, second, third) = TaskInstance(), planted(sandbox, "oto", 3)
    with task(ti):
        hook.recall([first])
        asyncio.run(DingTalkHook().arecall([second, {**third, "process_query_key": "none"}]))
    assert ti.pushed("recalled_0") == [key_of(first), key_of(second)]
    hook.recall([third])
    assert ti.keys == ["recalled_0"] * 2, "outside of a task"


def test_recalls_of_one_task_by_operators_and_the_hook_are_all_registered(
    sandbox: SandboxServer, hook: DingTalkHook
) -> None:
    ti, receipts = TaskInstance(), planted(sandbox, "oto", 4)
    with task(ti) as inside:
        hook.recall(receipts[0])
        DingTalkRollbackOperator(task_id="one", receipts=receipts[1:2]).execute(inside)
        DingTalkRecallOTOMessagesOperator(task_id="two", receipts=receipts[2:3]).execute(inside)
        hook.recall(receipts[3])
    assert ti.pushed("recalled_0") == list(map(key_of, receipts))


def test_the_rollback_of_a_block_leaves_out_what_the_hook_recalled_in_it(
    sandbox: SandboxServer, hook: DingTalkHook
) -> None:
    ti = TaskInstance(states={"task": "failed"})
    with task(ti):
        hook.recall(to_group(hook))
        (left,) = to_group(hook, "another one")
    found = of_tasks(context(ti), ["task"])
    assert ([receipt.key for receipt in found.receipts], found.already) == ([key_of(left)], 1)


def test_a_failed_push_of_recalled_keys_does_not_fail_the_recall(
    sandbox: SandboxServer, hook: DingTalkHook, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ConnectionError("away")

    with task(TaskInstance(on_push=fail)):
        assert hook.recall(planted(sandbox, "oto"))["counts"]["recalled"] == 1
    assert "The keys of recalled messages are not pushed (ConnectionError)." in caplog.text


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


def test_a_callback_elsewhere_pushes_nothing(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    # In the DAG processor a push is never answered.
    ti = TaskInstance()
    DingTalkNotifier(to={"open_conversation_id": GROUPS[0]}, text="failed").notify(context(ti))
    assert ti.keys == []
    assert len(keys_in_chat(sandbox)) == 1


# ── forks ────────────────────────────────────────────────────────────────────────────────────────────


class SharedTask(TaskInstance):
    """A task instance whose XComs and state all processes share."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def xcom_push(self, key: str, value: Any) -> None:
        with closing(FileStore(self._file)) as store:
            store.xcom_push(key, value)

    def xcom_pull(self, *, task_ids: list[str], key: str) -> list[Any]:
        with closing(FileStore(self._file)) as store:
            return [store.xcom(key)]


class SharedState:
    """A task state store that all processes share."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def get(self, key: str, default: Any = None) -> Any:
        with closing(FileStore(self._file, 1)) as store:
            return store.get(key, default)

    def set(self, key: str, value: Any) -> None:
        with closing(FileStore(self._file, 1)) as store:
            store.set(key, value)


def test_forked_processes_register_beside_their_task(
    sandbox: SandboxServer, hook: DingTalkHook, tmp_path: Path
) -> None:
    with closing(FileStore(tmp_path / "store", 1)) as first:
        first.begin_try()
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
    with closing(FileStore(tmp_path / "store")) as xcoms:
        late = [receipt["process_query_key"] for receipt in xcoms.xcom("receipts_late")]
        own = [receipt["process_query_key"] for receipt in xcoms.xcom("receipts_0")]
        assert (len(own), len(late), xcoms.xcom("receipts_count")) == (2, 3, 2)
    assert {*own, *late} == keys_in_chat(sandbox)
    second = TaskInstance()
    second.try_number = 2
    with task(second, store):
        to_group(hook, "the next try")
    assert set(registered(second)) == keys_in_chat(sandbox)
