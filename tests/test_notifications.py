"""Notifier: it sends from any callback, loses no alert, ends in time, and reports errors without secrets."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import DingTalkError, IncompleteSendError
from airflow_provider_dingtalk.messages.alert import mark
from airflow_provider_dingtalk.notifications import DingTalkNotifier, send_dingtalk_notification
from airflow_provider_dingtalk.sandbox.default import CLIENT_SECRET, COOL_APP_CODE, GROUPS, PRIVATE_CHAT
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from tests.support.callbacks import LOG, OF_TASK, TI
from tests.support.connections import Connect

TO_GROUP = {"open_conversation_id": GROUPS[0]}


@pytest.fixture(autouse=True)
def connected(connect: Connect, english: None) -> None:
    connect()


def texts(sandbox: SandboxServer) -> list[str]:
    return [str(message["text"]) for message in sandbox.snapshot()["messages"]]


LONG: list[tuple[Any, dict[str, Any]]] = [
    ("group", TO_GROUP),
    ("oto", {"user_ids": ["user001"]}),
    ("private_chat", {"open_conversation_id": PRIVATE_CHAT, "cool_app_code": COOL_APP_CODE}),
    ("work_notification", {"user_ids": ["user001"]}),
    ("ding", {"user_ids": ["user001"]}),
]


@pytest.mark.parametrize(("kind", "to"), LONG)
def test_a_long_text_arrives_shortened(sandbox: SandboxServer, kind: Any, to: dict[str, Any]) -> None:
    DingTalkNotifier(kind=kind, to=to, text="{{ words }}")({"words": "\ud800\0长" * 9_000})
    (text,) = texts(sandbox)
    assert text.startswith("\ufffd\ufffd长") and text.endswith(mark())


@pytest.mark.parametrize(("kind", "to"), LONG)
def test_the_default_text_has_its_link_whatever_the_error(
    sandbox: SandboxServer, kind: Any, to: dict[str, Any]
) -> None:
    DingTalkNotifier(kind=kind, to=to).notify({"ti": TI, "exception": ValueError("长\udc00" * 9_000)})
    (text,) = texts(sandbox)
    assert f"\n{LOG}\n" in text and text.endswith(mark())


@pytest.mark.parametrize(
    ("text", "more", "problem"),
    [
        ("hello", {"markdown": "# hello"}, "text: give one of text, markdown, msg_key; got text and markdown"),
        ("{{ nothing }} ", {}, "text: is blank"),
        (None, {"msg_key": "sampleLink", "msg_param": {"title": "x"}}, "msg_param: sampleLink needs text"),
    ],
)
def test_an_invalid_message_is_told_in_the_default_text(
    sandbox: SandboxServer, caplog: pytest.LogCaptureFixture, text: str | None, more: dict[str, Any], problem: str
) -> None:
    DingTalkNotifier(to=TO_GROUP | more, text=text)({"ti": TI})
    assert texts(sandbox)[0].startswith(f"DAG revenue, task load: failed\n{OF_TASK}\nNotifier: {problem}")
    assert problem in caplog.text


@pytest.mark.parametrize("empty", [{"text": ""}, {"markdown": "", "title": None}])
def test_an_empty_message_is_the_default_text(sandbox: SandboxServer, empty: dict[str, Any]) -> None:
    DingTalkNotifier(to=TO_GROUP | empty).notify({})
    assert texts(sandbox) == ["A DAG: needs a look"]


def test_a_ding_says_it_too(sandbox: SandboxServer) -> None:
    DingTalkNotifier(kind="ding", to={"user_ids": ["user001"]}).notify({})
    assert "needs a look" in texts(sandbox)[0]


def test_a_text_and_its_former_name_are_told_together(sandbox: SandboxServer) -> None:
    DingTalkNotifier(kind="ding", to={"user_ids": ["user001"], "content": "a"}, text="b").notify({})
    assert texts(sandbox) == ["A DAG: needs a look\nNotifier: content: is the former name of text; give only text"]


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


def test_the_next_callback_renders_its_own_templates(sandbox: SandboxServer) -> None:
    """The DAG processor may run the callbacks of several runs with one notifier."""
    notifier = DingTalkNotifier(to=TO_GROUP, text="{{ run_id }}")
    notifier({"run_id": "r7"})
    notifier({"run_id": "r8"})
    assert texts(sandbox) == ["r7", "r8"]


@pytest.mark.parametrize("to", [TO_GROUP, TO_GROUP | {"title": "Late", "markdown": "# {{ ti.task_id.x.y }}"}])
def test_a_template_that_fails_is_told_in_the_default_text(sandbox: SandboxServer, to: dict[str, Any]) -> None:
    notifier = DingTalkNotifier(to=to, text=None if "title" in to else "{{ ti.task_id.x }} {% if %}")
    asyncio.run(_awaited(notifier, {"run_id": "r7"}))
    notifier({"ti": TI, "exception": KeyError()})
    first, second = texts(sandbox)
    assert first.startswith("A DAG: needs a look\nRun: r7\nNotifier: template: cannot be rendered: ")
    assert second.startswith(f"DAG revenue, task load: failed\n{OF_TASK}\nError: KeyError\nNotifier: template: ")


async def _awaited(notifier: DingTalkNotifier, context: Any) -> None:
    notifier.context = context
    await notifier


def test_a_flag_of_a_template_is_a_flag(sandbox: SandboxServer) -> None:
    to = {"user_ids": ["user001"], "to_all_user": "{{ params.all }}"}
    DingTalkNotifier(to=to, kind="work_notification", text="hello")({"params": {"all": False}})
    (message,) = sandbox.snapshot()["messages"]
    assert message["receivers"] == 1


def test_a_context_of_another_form_loses_no_alert(sandbox: SandboxServer) -> None:
    DingTalkNotifier(to=TO_GROUP).notify({"ti": {"task_id": "load"}, "exception": KeyError()})
    assert texts(sandbox) == ["A DAG: needs a look\nError: KeyError"]


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
