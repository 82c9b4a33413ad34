"""Notifier: it sends from any callback, loses no alert, ends in time, and reports errors without secrets."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from airflow.sdk import DAG, TaskInstanceState
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.sdk.log import mask_secret

from airflow_provider_dingtalk.exceptions import DingTalkError, IncompleteSendError
from airflow_provider_dingtalk.language import VARIABLE
from airflow_provider_dingtalk.messages.alert import MARK
from airflow_provider_dingtalk.notifications import DingTalkNotifier, send_dingtalk_notification
from airflow_provider_dingtalk.sandbox.default import CLIENT_SECRET, COOL_APP_CODE, GROUPS, PRIVATE_CHAT
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from tests.support.airflow_seams import TaskInstance
from tests.support.connections import Connect

TO_GROUP = {"open_conversation_id": GROUPS[0]}
#: A task instance as Airflow gives it to callbacks.
TI = RuntimeTaskInstance.model_construct(
    dag_id="revenue",
    task_id="load",
    run_id="manual__1+00:00",
    try_number=2,
    map_index=-1,
    state=TaskInstanceState.FAILED,
)
MAPPED = RuntimeTaskInstance.model_construct(
    dag_id="每日", task_id="load", run_id="r1", try_number=1, map_index=3, state="up_for_retry"
)
URL = "http://localhost:8080/dags"
LOG = f"Log: {URL}/revenue/runs/manual__1%2B00%3A00/tasks/load?try_number=2"
MAPPED_LOG = f"{URL}/%E6%AF%8F%E6%97%A5/runs/r1/tasks/load/mapped/3?try_number=1"
OF_TASK = f"Run: manual__1+00:00\nTry: 2\n{LOG}"
OF_RUN = f"Run: r1\nPage: {URL}/late/runs/r1"
#: Contexts of callbacks, and the whole default text.
CONTEXTS: dict[str, tuple[Any, str]] = {
    "failure": (
        {"ti": TI, "exception": ValueError("17 rows\n  are  bad\n")},
        f"DAG revenue, task load: failed\n{OF_TASK}\nError: ValueError: 17 rows are bad",
    ),
    "retry of a mapped task": (
        {"ti": MAPPED, "exception": KeyError()},
        f"DAG 每日, task load [3]: up_for_retry\nRun: r1\nTry: 1\nLog: {MAPPED_LOG}\nError: KeyError",
    ),
    "no error": ({"ti": TI, "exception": None}, f"DAG revenue, task load: failed\n{OF_TASK}"),
    "end of a run": ({"ti": TI, "reason": "timed_out"}, f"DAG revenue: timed_out\nTask: load\n{OF_TASK}"),
    "end of a run without tasks": (
        {"dag": DAG("late", schedule=None), "run_id": "r1", "reason": "task_failure"},
        f"DAG late: task_failure\n{OF_RUN}",
    ),
    "deadline": (
        {"dag_run": {"dag_id": "late", "dag_run_id": "r1"}, "deadline": {"id": "d"}},
        f"DAG late: missed a deadline\n{OF_RUN}",
    ),
    "bare task": ({"ti": TaskInstance()}, "DAG dag, task task: failed\nRun: run\nTry: 1"),
    "nothing": ({}, "A DAG: needs a look"),
}


@pytest.fixture(autouse=True)
def connected(connect: Connect, english: None) -> None:
    connect()


def texts(sandbox: SandboxServer) -> list[str]:
    return [str(message["text"]) for message in sandbox.snapshot()["messages"]]


@pytest.mark.parametrize("name", CONTEXTS)
def test_it_says_what_happened_as_far_as_the_callback_knows(sandbox: SandboxServer, name: str) -> None:
    context, expected = CONTEXTS[name]
    DingTalkNotifier(to=TO_GROUP).notify(context)
    assert texts(sandbox) == [expected]


@pytest.mark.parametrize(
    ("option", "first", "labels"),
    [
        ("zh", ["DAG revenue，任务 load：失败"], ["运行", "尝试", "日志", "错误"]),
        (
            "both",
            ["DAG revenue, task load: failed", "DAG revenue，任务 load：失败"],
            ["Run 运行", "Try 尝试", "Log 日志", "Error 错误"],
        ),
    ],
)
def test_the_default_text_is_in_the_language_of_the_option(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch, option: str, first: list[str], labels: list[str]
) -> None:
    monkeypatch.setenv(VARIABLE, option)
    DingTalkNotifier(to=TO_GROUP).notify({"ti": TI, "exception": KeyError()})
    values = ["manual__1+00:00", "2", LOG.removeprefix("Log: "), "KeyError"]
    rest = [f"{label}: {value}" for label, value in zip(labels, values, strict=True)]
    assert texts(sandbox)[0].splitlines() == [*first, *rest]


@pytest.mark.parametrize("context", [{}, {"dag_run": {"dag_id": "late", "dag_run_id": "r1"}, "deadline": {"id": "d"}}])
def test_nothing_english_is_left_in_a_chinese_default_text(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch, context: Any
) -> None:
    monkeypatch.setenv(VARIABLE, "zh")
    DingTalkNotifier(to=TO_GROUP).notify(context)
    expected = f"DAG late：错过截止时间\n运行: r1\n页面: {URL}/late/runs/r1" if context else "DAG：需要查看"
    assert texts(sandbox) == [expected]


@pytest.mark.parametrize("place", [-9, 0, 9], ids=["before", "across", "after"])
def test_an_error_is_masked_before_it_is_shortened(sandbox: SandboxServer, place: int) -> None:
    secret = "".join(chr(ord("a") + number % 26) for number in range(0, 900, 7))
    mask_secret(secret)
    # The secret begins before, at and after the place where the text is cut.
    error = "x" * (500 - len(MARK) - len("ValueError: ") + place) + secret
    DingTalkNotifier(to=TO_GROUP).notify({"ti": TI, "exception": ValueError(error + "y" * 99)})
    (text,) = texts(sandbox)
    assert text.endswith(MARK) and len(text.partition("Error: ")[2]) == 500
    assert not any(secret[start : start + 8] in text for start in range(len(secret) - 7))


def test_a_secret_over_several_lines_is_masked(sandbox: SandboxServer) -> None:
    # Other tests of this process may have masked any usual word.
    mask_secret("8c1f20d97e3b\n51a6e0b4c92d")
    error = "Bad key: 8c1f20d97e3b\n51a6e0b4c92d."
    DingTalkNotifier(to=TO_GROUP).notify({"ti": TI, "exception": error})
    assert texts(sandbox)[0].endswith("\nError: Bad key: ***.")


def test_an_error_without_a_text_of_its_own_is_named(sandbox: SandboxServer) -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    DingTalkNotifier(to=TO_GROUP).notify({"ti": TI, "exception": Unprintable()})
    assert texts(sandbox)[0].endswith("\nError: Unprintable")


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
    assert text.startswith("\ufffd\ufffd长") and text.endswith(MARK)


@pytest.mark.parametrize(("kind", "to"), LONG)
def test_the_default_text_has_its_link_whatever_the_error(
    sandbox: SandboxServer, kind: Any, to: dict[str, Any]
) -> None:
    DingTalkNotifier(kind=kind, to=to).notify({"ti": TI, "exception": ValueError("长\udc00" * 9_000)})
    (text,) = texts(sandbox)
    assert f"\n{LOG}\n" in text and text.endswith(MARK)


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
