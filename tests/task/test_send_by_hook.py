"""Sends by the hook inside a task."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_dingtalk.exceptions import DroppedReceiversError, IncompleteSendError
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.operators import (
    DingTalkRollbackOperator,
)
from airflow_provider_dingtalk.sandbox.default import GROUPS
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.task.running_registry import registry_of
from tests.support.airflow_seams import TaskInstance, TaskStateStore
from tests.support.registered import GROUP_SEND, keys_in_chat, registered, task, to_group
from tests.support.sends import PLAIN


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
    assert unknown["to"][0] in GROUPS[1:]
    assert len(registered(ti)) == 2
    second = TaskInstance()
    with task(second, store):
        to_group(hook, "another one")
    assert [one["to"] for one in second.pushed("unknown")] == [unknown["to"]], "also to the next try"


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
    begun = {"is_over": False, "rollbacks": ["rollback"], "at_a_time": 20, "calls": 1, "receipts": 0}
    assert said == [begun, {"is_over": True, "rollbacks": ["rollback"]}]


class Text(str):
    """A text as some YAML parsers and templates make it."""

    __slots__ = ()


def test_a_connection_named_by_a_subclass_of_str_is_registered_by_its_name(
    sandbox: SandboxServer, hook: DingTalkHook
) -> None:
    ti, store = TaskInstance(), TaskStateStore()
    with task(ti, store):
        (receipt,) = to_group(DingTalkHook(Text("dingtalk_default")))
    assert registered(ti) == [receipt["process_query_key"]]
    assert receipt["conn_id"] == ti.pushed("receipts_0")[0]["conn_id"] == "dingtalk_default"


@pytest.mark.parametrize("kind", Kind)
def test_a_message_that_a_plain_call_sends_is_registered_too(
    sandbox: SandboxServer, hook: DingTalkHook, kind: Kind
) -> None:
    ti, store = TaskInstance(), TaskStateStore()
    (send_request,) = hook.send_requests(kind, **PLAIN[kind])
    with task(ti, store):
        to_group(hook)
        hook.call(send_request.call)
    receipts = ti.pushed("receipts_0")
    assert len(receipts) == ti.pushed("receipts_count") == 2
    (expected,) = hook.send(kind, **{**PLAIN[kind], "text": "again"})
    of_this_message = ("sent_at", message_type(kind).key_field)
    known = {name: value for name, value in receipts[1].items() if name not in (*of_this_message, "text", "run_id")}
    assert known == {name: value for name, value in expected.items() if name not in of_this_message}
    again = TaskInstance()
    again.try_number = 2
    with task(again, store) as context:
        registry_of(context).restore()
    assert again.pushed("receipts_0")[1] == receipts[1]


@pytest.mark.anyio
async def test_so_is_one_of_an_async_task(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    ti = TaskInstance()
    (send_request,) = hook.send_requests("group", open_conversation_id=GROUPS[0], text="hello")
    with task(ti, TaskStateStore()):
        await hook.acall(send_request.call)
    assert set(registered(ti)) == keys_in_chat(sandbox)
