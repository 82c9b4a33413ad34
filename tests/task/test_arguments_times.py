"""Times without a zone are in Airflow's ``default_timezone`` in all user input."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from airflow_provider_dingtalk.task.arguments import both_times, default_time_zone, parse_moment, parse_receipts

NINE_IN_SHANGHAI = datetime(2026, 11, 28, 1, tzinfo=UTC).timestamp()
RECEIPT = {"kind": "oto", "robot_code": "robot", "process_query_key": "key"}


@pytest.fixture(autouse=True)
def shanghai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__DEFAULT_TIMEZONE", "Asia/Shanghai")


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-28 09:00",
        "2026-11-28T09:00:00",
        "2026-11-28T01:00:00Z",
        "2026-11-28T03:00:00+02:00",
        datetime(2026, 11, 28, 9),
        datetime(2026, 11, 28, 1, tzinfo=UTC),
        datetime(2026, 11, 28, 9, tzinfo=timezone(timedelta(hours=8))),
    ],
)
def test_a_moment_of_a_rollback(written: object):
    assert parse_moment(written, "since") == NINE_IN_SHANGHAI


def test_a_day_begins_at_its_midnight():
    midnight = datetime(2026, 11, 27, 16, tzinfo=UTC).timestamp()
    assert parse_moment("2026-11-28", "since") == parse_moment(date(2026, 11, 28), "since") == midnight


def test_the_log_says_which_moment_was_understood(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "airflow_provider_dingtalk"):
        parse_moment("2026-11-28 09:00", "since")
    assert "since: 2026-11-28 01:00:00 UTC (2026-11-28 09:00:00 Asia/Shanghai)." in caplog.text


@pytest.mark.parametrize("written", ["2026-11-28 09:00", "2026-11-28T01:00:00Z"])
def test_when_a_message_of_a_receipt_was_sent(written: str):
    (receipt,) = parse_receipts([{**RECEIPT, "sent_at": written}])
    assert (receipt.sent(), receipt.sent_at) == (NINE_IN_SHANGHAI, "2026-11-28T01:00:00.000Z")


@pytest.mark.parametrize(
    ("name", "told", "local"),
    [
        ("utc", "UTC", ""),
        ("UTC", "UTC", ""),
        ("Europe/Berlin", "Europe/Berlin", " (2026-11-28 02:00:00 Europe/Berlin)"),
    ],
)
def test_the_zone_is_airflow_s(name: str, told: str, local: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW__CORE__DEFAULT_TIMEZONE", name)
    assert str(default_time_zone()) == told
    assert both_times(NINE_IN_SHANGHAI) == f"2026-11-28 01:00:00 UTC{local}"


def test_summer_time_counts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW__CORE__DEFAULT_TIMEZONE", "Europe/Berlin")
    assert parse_moment("2026-07-01 09:00", "since") == datetime(2026, 7, 1, 7, tzinfo=UTC).timestamp()
    assert parse_moment("2026-01-01 09:00", "since") == datetime(2026, 1, 1, 8, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("written", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00"])
@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York"])
def test_a_moment_at_the_end_of_all_time_is_a_moment(written: str, zone: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW__CORE__DEFAULT_TIMEZONE", zone)
    assert isinstance(parse_moment(written, "until"), float)
