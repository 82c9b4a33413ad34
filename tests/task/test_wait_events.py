"""Results that a sensor makes of its trigger's events."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import DingTalkError, MessageRecalledError
from airflow_provider_dingtalk.task.wait_events import error_event, result_of_event
from airflow_provider_dingtalk.version_compat import AirflowSensorTimeout

# ── a sensor's result of an event ────────────────────────────────────────────────────────────────────

ERROR = {"status": "error", "recalled": False, "message": "no", "code": "c", "next_step": "n"}


def test_a_met_event_is_the_result() -> None:
    assert result_of_event({"status": "met", "messages": [{"key": "k"}]}, timeout=1) == [{"key": "k"}]


def test_a_timeout_event_is_airflows_timeout() -> None:
    with pytest.raises(AirflowSensorTimeout, match="12"):
        result_of_event({"status": "timeout"}, timeout=12)


@pytest.mark.parametrize(("recalled", "kind"), [(True, MessageRecalledError), (False, DingTalkError)])
def test_an_error_event_is_the_error_that_the_other_modes_raise(recalled: bool, kind: type[DingTalkError]) -> None:
    with pytest.raises(DingTalkError) as raised:
        result_of_event({**ERROR, "recalled": recalled}, timeout=1)
    assert type(raised.value) is kind
    assert (raised.value.message, raised.value.code, raised.value.next_step) == ("no", "c", "n")
    assert raised.value.permanent


@pytest.mark.parametrize("in_chinese", ["这样做。", ""])
def test_an_error_keeps_its_texts_in_each_language(in_chinese: str) -> None:
    error = DingTalkError("no", code="c", next_step="n", next_step_zh=in_chinese, message_zh=in_chinese)
    with pytest.raises(DingTalkError) as raised:
        result_of_event(error_event(error), timeout=1)
    assert (raised.value.next_step, raised.value.next_step_zh, raised.value.message_zh) == ("n", in_chinese, in_chinese)


@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        {"status": None},
        {"status": "success"},
        {"status": "MET", "messages": []},
        {"status": "met"},
        {"status": "met", "messages": None},
        {"status": "met", "messages": "all"},
        {"messages": []},
        {"status": "error"},
        {**ERROR, "message": None},
        {**ERROR, "recalled": "perhaps"},
        {**ERROR, "code": 5},
        {name: value for name, value in ERROR.items() if name != "next_step"},
        {"status": ["met"], "messages": []},
        [],
        ["met"],
        "met",
        5,
        True,
    ],
)
def test_an_event_that_nobody_knows_fails_and_is_never_a_success(event: Any) -> None:
    with pytest.raises(DingTalkError) as raised:
        result_of_event(event, timeout=1)
    assert (raised.value.code, raised.value.permanent) == ("no_event", True)
