"""Progress lines in the log of a job."""

from __future__ import annotations

import logging

import pytest

from airflow_provider_dingtalk.jobs.progress import INTERVAL, Progress, calls_made
from airflow_provider_dingtalk.language import VARIABLE
from tests.clock import VirtualClock

pytestmark = pytest.mark.usefixtures("english")

log = logging.getLogger("airflow_provider_dingtalk.tests")


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def progress(clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> Progress:
    caplog.set_level(logging.INFO, log.name)
    return Progress(log, "Recall", 1000, clock)


def test_a_throttled_call_is_one_call() -> None:
    assert calls_made({"recall": 3, "status": 2, "throttled": 1}) == 5
    assert calls_made({}) == 0


def test_a_line_is_due_each_five_seconds(progress: Progress, clock: VirtualClock) -> None:
    assert not progress.is_due
    clock.advance(INTERVAL)
    assert progress.is_due
    progress.log(10, {"recall": 1})
    assert not progress.is_due


def test_the_first_line_names_messages_and_calls(progress: Progress, caplog: pytest.LogCaptureFixture) -> None:
    progress.log_start(1234)
    assert caplog.messages == ["Recall of 1,000 messages in about 1,234 API calls."]


def test_a_line_has_share_rates_calls_and_time_left(
    progress: Progress, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    progress.log(0, {})
    assert caplog.messages[0].endswith("time left unknown.")
    clock.advance(10)
    progress.log(250, {"recall": 15, "status": 5, "throttled": 2})
    assert caplog.messages[1] == (
        "Recall: 250 of 1,000 messages (25%), 25.0/s, 20 calls (2.0/s, 2 throttled), about 30 s left."
    )


def test_a_job_without_messages_has_a_line_too(clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, log.name)
    Progress(log, "Recall", 0, clock).log(0, {})
    assert "0 of 0 messages (0%)" in caplog.messages[0]


@pytest.mark.parametrize("option", ["zh", "both"])
def test_the_lines_are_chinese_too(
    progress: Progress,
    clock: VirtualClock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    option: str,
) -> None:
    monkeypatch.setenv(VARIABLE, option)
    progress.log_start(1234)
    clock.advance(10)
    progress.log(250, {"recall": 20, "throttled": 2})
    first, second = caplog.messages
    assert first.endswith("撤回 1,000 条消息，约需 1,234 次 API 调用。")
    done = "撤回：250 / 1,000 条消息（25%），每秒 25.0 条，20 次调用（每秒 2.0 次，限流 2 次），约剩 30 秒。"
    assert second.endswith(done)
    assert first.startswith("Recall of 1,000 messages") is second.startswith("Recall: 250 of") is (option == "both")
