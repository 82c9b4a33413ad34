"""Reasons of failed messages."""

from __future__ import annotations

import pytest

from airflow_provider_dingtalk.exceptions import DingTalkError
from airflow_provider_dingtalk.messages.reason import NO_CODE, Reason


@pytest.mark.parametrize(("code", "shown"), [("bot.stopped", "bot.stopped"), ("", NO_CODE)])
def test_a_reason_has_code_text_and_next_step(code: str, shown: str) -> None:
    reason = Reason.of(DingTalkError("Refused.", code=code, next_step="Start the robot."))
    assert reason.to_json() == {"code": shown, "message": "Refused.", "next_step": "Start the robot."}


def test_a_long_text_is_cut() -> None:
    assert len(Reason.of(DingTalkError("x" * 1_000)).message) == 300
