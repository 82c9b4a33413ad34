"""Reasons of failed messages."""

from __future__ import annotations

import pytest

from airflow_provider_dingtalk.client import error_codes, unreachable
from airflow_provider_dingtalk.exceptions import DingTalkError
from airflow_provider_dingtalk.jobs import recall_results
from airflow_provider_dingtalk.messages.reason import NO_CODE, Reason, advice


@pytest.mark.parametrize(("code", "shown"), [("bot.stopped", "bot.stopped"), ("", NO_CODE)])
def test_a_reason_has_code_text_and_next_step(code: str, shown: str) -> None:
    reason = Reason.of(DingTalkError("Refused.", code=code, next_step="Start the robot."))
    assert reason.to_json() == {"code": shown, "message": "Refused.", "next_step": "Start the robot."}


def test_a_long_text_is_cut() -> None:
    assert len(Reason.of(DingTalkError("x" * 1_000)).message) == 300


STEPS = [
    *((rule.next_step, rule.next_step_zh) for rule in error_codes.CODES.values()),
    tuple(unreachable.TIMEOUT),
    (recall_results.AGAIN, "请重新执行撤回。"),
]


@pytest.mark.parametrize(("option", "chosen"), [("en", [0]), ("zh", [1]), ("both", [0, 1])])
def test_the_next_step_of_a_report_has_each_language(
    monkeypatch: pytest.MonkeyPatch, option: str, chosen: list[int]
) -> None:
    monkeypatch.setenv("AIRFLOW__DINGTALK__LANGUAGE", option)
    assert all(advice(step[0]) == " ".join(step[index] for index in chosen) for step in STEPS)


def test_an_unknown_next_step_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DINGTALK__LANGUAGE", "zh")
    assert advice("Ask the team of the robot.") == "Ask the team of the robot."
