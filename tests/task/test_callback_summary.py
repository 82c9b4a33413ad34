"""Summary of a callback's context: what is known, in the language of the option, without secrets."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.sdk.log import mask_secret

from airflow_provider_dingtalk.language import VARIABLE
from airflow_provider_dingtalk.messages.alert import mark
from airflow_provider_dingtalk.task.callback_summary import callback_summary
from tests.support.airflow_seams import TaskInstance
from tests.support.callbacks import LOG, OF_TASK, TI, URL

MAPPED = RuntimeTaskInstance.model_construct(
    dag_id="每日", task_id="load", run_id="r1", try_number=1, map_index=3, state="up_for_retry"
)
MAPPED_LOG = f"{URL}/%E6%AF%8F%E6%97%A5/runs/r1/tasks/load/mapped/3?try_number=1"
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
def in_english(english: None) -> None:
    """Use English, unless a test says otherwise."""


@pytest.mark.parametrize("name", CONTEXTS)
def test_it_says_what_happened_as_far_as_the_callback_knows(name: str) -> None:
    context, expected = CONTEXTS[name]
    assert callback_summary(context) == expected


@pytest.mark.parametrize(
    ("option", "first", "labels"),
    [
        ("zh", ["DAG revenue，任务 load：失败"], ["运行：", "尝试：", "日志：", "错误："]),
        (
            "both",
            ["DAG revenue, task load: failed", "DAG revenue，任务 load：失败"],
            ["Run 运行: ", "Try 尝试: ", "Log 日志: ", "Error 错误: "],
        ),
    ],
)
def test_the_default_text_is_in_the_language_of_the_option(
    monkeypatch: pytest.MonkeyPatch, option: str, first: list[str], labels: list[str]
) -> None:
    monkeypatch.setenv(VARIABLE, option)
    text = callback_summary({"ti": TI, "exception": KeyError()})
    values = ["manual__1+00:00", "2", LOG.removeprefix("Log: "), "KeyError"]
    rest = [f"{label}{value}" for label, value in zip(labels, values, strict=True)]
    assert text.splitlines() == [*first, *rest]


@pytest.mark.parametrize("context", [{}, {"dag_run": {"dag_id": "late", "dag_run_id": "r1"}, "deadline": {"id": "d"}}])
def test_nothing_english_is_left_in_a_chinese_default_text(monkeypatch: pytest.MonkeyPatch, context: Any) -> None:
    monkeypatch.setenv(VARIABLE, "zh")
    expected = f"DAG late：错过截止时间\n运行：r1\n页面：{URL}/late/runs/r1" if context else "DAG：需要查看"
    assert callback_summary(context) == expected


@pytest.mark.parametrize("place", [-9, 0, 9], ids=["before", "across", "after"])
def test_an_error_is_masked_before_it_is_shortened(place: int) -> None:
    secret = "".join(chr(ord("a") + number % 26) for number in range(0, 900, 7))
    mask_secret(secret)
    # The secret begins before, at and after the place where the text is cut.
    error = "x" * (500 - len(mark()) - len("ValueError: ") + place) + secret
    text = callback_summary({"ti": TI, "exception": ValueError(error + "y" * 99)})
    assert text.endswith(mark()) and len(text.partition("Error: ")[2]) == 500
    assert not any(secret[start : start + 8] in text for start in range(len(secret) - 7))


def test_a_secret_over_several_lines_is_masked() -> None:
    # Other tests of this process may have masked any usual word.
    mask_secret("8c1f20d97e3b\n51a6e0b4c92d")
    error = "Bad key: 8c1f20d97e3b\n51a6e0b4c92d."
    assert callback_summary({"ti": TI, "exception": error}).endswith("\nError: Bad key: ***.")


def test_an_error_without_a_text_of_its_own_is_named() -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert callback_summary({"ti": TI, "exception": Unprintable()}).endswith("\nError: Unprintable")
