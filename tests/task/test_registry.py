"""Sends inside a running task register their receipts with it as soon as DingTalk accepts them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import CheckpointError, IncompleteSendError
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.jobs.send import Send
from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.notifications import DingTalkNotifier
from airflow_provider_dingtalk.operators import (
    DingTalkSendGroupMessageOperator,
    DingTalkSendOTOMessagesOperator,
)
from airflow_provider_dingtalk.sandbox.default import GROUPS
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.task.api_server import waiting_for_server
from airflow_provider_dingtalk.task.registry import SendRegistry
from airflow_provider_dingtalk.task.run_history import Tasks
from tests.clock import VirtualClock
from tests.support.airflow_seams import TaskInstance, TaskStateStore, calls, context
from tests.support.local_dingtalk import receipt_for
from tests.support.outages import Away, server_of_outages
from tests.support.registered import GROUP_SEND, keys_in_chat, registered, task, to_group

# ── mapped tasks ─────────────────────────────────────────────────────────────────────────────────────


class MappedTaskInstance(TaskInstance):
    """Instance of a mapped task; all instances have late receipts already."""

    def __init__(self, map_index: int | None) -> None:
        super().__init__()
        self.map_index = map_index
        self.late = [receipt_for(Kind.GROUP, f"late{index}").to_json() for index in range(2)]

    def xcom_pull(self, *, task_ids: list[str], key: str, map_indexes: list[int] | None = None) -> list[Any]:
        return [[receipt] for index, receipt in enumerate(self.late) if map_indexes in (None, [index])]


@pytest.mark.parametrize(("map_index", "own"), [(0, ["late0"]), (1, ["late1"]), (-1, ["late0", "late1"])])
def test_late_receipts_of_other_instances_stay_theirs(map_index: int, own: list[str]) -> None:
    ti = MappedTaskInstance(map_index)
    asyncio.run(SendRegistry({"ti": ti}).publish_late([receipt_for(Kind.GROUP, "new")]))
    assert [receipt["process_query_key"] for receipt in ti.pushed("receipts_late")] == [*own, "new"]


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


@pytest.mark.parametrize(("exception", "in_block"), [(ValueError("wrong"), {}), (None, {"task": 1})])
def test_an_alert_in_doubt_does_not_concern_the_rollback_of_a_block(
    sandbox: SandboxServer,
    hook: DingTalkHook,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    exception: Exception | None,
    in_block: dict[str, int],
) -> None:
    monkeypatch.setenv("AIRFLOW_CTX_TASK_ID", "task")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "run")
    sandbox.faults({"match": GROUP_SEND, "when": "after", "action": {"type": "drop"}})
    ti = TaskInstance(states={"task": "failed"})
    inside = {**context(ti), **({"exception": exception} if exception else {})}
    with pytest.raises(IncompleteSendError):
        DingTalkNotifier(to={"open_conversation_id": GROUPS[0]}, text="hello").notify(inside)
    assert len(ti.pushed("unknown")) == 1
    caplog.set_level(logging.INFO, "airflow_provider_dingtalk")
    assert Tasks(inside, ["task"]).sent().in_doubt == in_block
    assert ("Alerts of task task may be in chats" in caplog.text) is (not in_block)
    assert Tasks(inside, ["task"]).sent(alerts=True).in_doubt == {"task": 1}


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


# ── outages of the API server ────────────────────────────────────────────────────────────────────────


def test_a_send_outlasts_an_outage(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    clock, ti = VirtualClock(), TaskInstance()
    store = Away(TaskStateStore(), clock)
    store.leave(100)
    inside = waiting_for_server({**context(ti), "task_state_store": store}, server_of_outages(clock))
    assert len(by_hand("t", "hello").execute(inside)) == 1
    assert set(registered(ti)) == keys_in_chat(sandbox)


def test_a_stopped_send_waits_no_longer_for_the_api_server() -> None:
    clock = VirtualClock()
    store = Away(TaskStateStore(), clock)
    registry = SendRegistry(waiting_for_server({**context(), "task_state_store": store}, server_of_outages(clock)))
    registry.add_job(Send(())).stop()
    store.leave(100)
    with pytest.raises(CheckpointError):
        _ = registry.sends
    assert store.attempts == 1


def test_the_last_line_of_a_send_is_chinese_too(
    sandbox: SandboxServer, hook: DingTalkHook, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__DINGTALK__LANGUAGE", "both")
    with (
        caplog.at_level(logging.INFO, "airflow_provider_dingtalk.task.registry"),
        task(TaskInstance(), TaskStateStore()),
    ):
        to_group(hook)
    assert "Sent 1, refused 0, unknown 0. 已发送 1，被拒绝 0，未知 0。" in caplog.messages


FOREIGN = ["text", 5, [1], {"a": 1}, [{"kind": "fax"}]]


@pytest.mark.parametrize("foreign", FOREIGN, ids=str)
def test_a_foreign_value_does_not_keep_a_late_receipt_from_its_xcom(foreign: Any) -> None:
    ti = TaskInstance(xcoms={("task", "receipts_late"): [foreign]})
    asyncio.run(SendRegistry({"ti": ti}).publish_late([receipt_for(Kind.GROUP, "new")]))
    assert [receipt["process_query_key"] for receipt in ti.pushed("receipts_late")] == ["new"]


@pytest.mark.parametrize("foreign", FOREIGN, ids=str)
def test_a_foreign_value_for_receipts_of_forks_does_not_stop_the_next_try(
    sandbox: SandboxServer, hook: DingTalkHook, foreign: Any
) -> None:
    ti, store = TaskInstance(), TaskStateStore()
    ti.try_number = 2
    store.set("dingtalk-send-2-forked", foreign)
    with task(ti, store):
        to_group(hook)
    assert set(registered(ti)) == keys_in_chat(sandbox)


@pytest.mark.parametrize("store", [TaskStateStore, lambda: None], ids=["3.3", "3.1"])
def test_what_was_sent_before_a_deferral_is_registered_after_it_too(
    sandbox: SandboxServer, hook: DingTalkHook, store: Any
) -> None:
    """After a deferral or a reschedule, another process goes on with the same try."""
    xcoms: dict[tuple[str, str], list[Any]] = {}
    before, after, kept = TaskInstance(xcoms=xcoms), TaskInstance(xcoms=xcoms), store()
    people = sandbox.state.ensure_people(101)
    with task(before, kept):
        hook.send("oto", user_ids=people, one_receipt_per_user=True, text="begun")
    with task(after, kept):
        to_group(hook, "done")
    chunks = [xcoms["task", f"receipts_{number}"][0] for number in range(2)]
    keys = {receipt["process_query_key"] for chunk in chunks for receipt in chunk}
    assert keys == keys_in_chat(sandbox)
    assert xcoms["task", "receipts_count"] == [len(keys)] == [102]
