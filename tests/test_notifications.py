"""Notifier: it sends from any callback, ends in time, and reports errors without secrets."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import DingTalkError, IncompleteSendError
from airflow_provider_dingtalk.notifications import DingTalkNotifier, send_dingtalk_notification
from airflow_provider_dingtalk.sandbox.default import CLIENT_SECRET, GROUPS
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from tests.support.airflow_seams import TaskInstance
from tests.support.connections import Connect

TO_GROUP = {"open_conversation_id": GROUPS[0]}
CONTEXTS: list[tuple[Any, str]] = [
    ({"ti": TaskInstance()}, "dag.task, run run"),
    ({"dag_run": {"dag_id": "late", "dag_run_id": "r1"}}, "late, run r1"),
    ({}, "A DAG"),
]


@pytest.fixture(autouse=True)
def connected(connect: Connect) -> None:
    connect()


def texts(sandbox: SandboxServer) -> list[str]:
    return [str(message["text"]) for message in sandbox.snapshot()["messages"]]


@pytest.mark.parametrize(("context", "expected"), CONTEXTS, ids=["task", "deadline", "nothing"])
def test_it_says_what_happened_as_far_as_the_callback_knows(
    sandbox: SandboxServer, context: Any, expected: str
) -> None:
    DingTalkNotifier(to=TO_GROUP).notify(context)
    assert expected in texts(sandbox)[0]


def test_a_ding_says_it_too(sandbox: SandboxServer) -> None:
    DingTalkNotifier(kind="ding", to={"user_ids": ["user001"]}).notify({})
    assert "needs a look" in texts(sandbox)[0]


def test_a_text_and_its_former_name_are_refused_together() -> None:
    with pytest.raises(DingTalkError, match="content: "):
        DingTalkNotifier(kind="ding", to={"user_ids": ["user001"], "content": "a"}, text="b").notify({})


def test_it_takes_no_unknown_argument() -> None:
    with pytest.raises(TypeError, match="kinds"):
        DingTalkNotifier(kinds="ding", to=TO_GROUP)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("kind", "to", "text"),
    [
        ("group", TO_GROUP, "hello"),
        ("oto", {"user_ids": ["user001"]}, "hello"),
        ("work_notification", {"user_ids": ["user001"]}, "hello"),
        ("ding", {"user_ids": ["user001"]}, "hello"),
        ("ding", {"user_ids": ["user001"], "content": "hello"}, None),
        ("group", {**TO_GROUP, "markdown": "hello"}, None),
    ],
)
def test_sync_and_async_send_the_same(sandbox: SandboxServer, kind: str, to: dict[str, Any], text: str | None) -> None:
    sandbox.state.behaviour = sandbox.state.behaviour.changed({"repeat_filter": False})
    notifier = send_dingtalk_notification(kind=kind, to=to, text=text)
    notifier.notify({})
    asyncio.run(notifier.async_notify({}))
    first, second = texts(sandbox)
    assert "hello" in first
    assert first == second


def test_a_callback_renders_its_templates(sandbox: SandboxServer) -> None:
    DingTalkNotifier(to=TO_GROUP, text="run {{ run_id }} failed")({"run_id": "r7"})
    assert "run r7 failed" in texts(sandbox)[0]


def test_its_receipt_is_in_the_log(sandbox: SandboxServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        DingTalkNotifier(to=TO_GROUP, text="hello").notify({})
    [message] = sandbox.snapshot()["messages"]
    assert message["key"] in caplog.text


@pytest.mark.parametrize(
    "fault",
    [
        {"type": "status", "status": 500},
        {"type": "drop"},
        {"type": "html"},
        {"type": "ban"},
        {"type": "status", "status": 400, "code": "bot.stopped"},
    ],
    ids=lambda fault: str(fault["type"]),
)
def test_what_goes_wrong_is_told_without_a_secret(sandbox: SandboxServer, fault: dict[str, Any]) -> None:
    sandbox.faults({"match": "send", "action": fault})
    with pytest.raises(IncompleteSendError) as raised:
        DingTalkNotifier(to=TO_GROUP, text="hello").notify({})
    assert CLIENT_SECRET not in f"{raised.value!r} {raised.value}"


def test_a_wrong_key_is_told(sandbox: SandboxServer, connect: Connect) -> None:
    connect(password="wrong")
    with pytest.raises(DingTalkError, match="region"):
        DingTalkNotifier(to=TO_GROUP, text="hello").notify({})


def test_it_ends_when_its_time_is_up_and_the_send_is_unknown(sandbox: SandboxServer) -> None:
    # With a token, all of the time is the send's own.
    DingTalkNotifier(to=TO_GROUP, text="hello").notify({})
    sandbox.faults({"match": "send", "action": {"type": "delay", "seconds": 60}})
    with pytest.raises(IncompleteSendError, match="unknown 1"):
        DingTalkNotifier(to=TO_GROUP, text="hello", timeout=2).notify({})
