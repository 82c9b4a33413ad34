"""Reports: small, plain JSON, one outcome per message, long lists cut and counted."""

from __future__ import annotations

import json

import pytest

from airflow_provider_dingtalk.client.error_codes import error_for
from airflow_provider_dingtalk.exceptions import ConnectionFailedError
from airflow_provider_dingtalk.jobs.report import MAX_LISTED, MessageResult, Outcome, Report
from airflow_provider_dingtalk.language import VARIABLE
from airflow_provider_dingtalk.messages.reason import Reason

pytestmark = pytest.mark.usefixtures("english")

WHY = Reason("some.code", "DingTalk: some.code.", "Do something.")
OTHER = Reason("other.code", "DingTalk: other.code.", "Do something else.")


def report_of(*, duplicates: int = 0, calls: dict[str, int] | None = None, **numbers: int) -> Report:
    """Return a report with these numbers of messages by outcome."""
    settled = {
        f"{name}-{number}": MessageResult(Outcome(name), None if name == "recalled" else WHY)
        for name, count in numbers.items()
        for number in range(count)
    }
    return Report(settled, calls or {}, duplicates)


def test_the_shape_is_the_one_that_is_promised() -> None:
    report = Report(
        {
            "a": MessageResult(Outcome.RECALLED),
            "b": MessageResult(Outcome.FAILED, WHY),
            "c": MessageResult(Outcome.EXPIRED, OTHER),
            "d": MessageResult(Outcome.UNKNOWN, WHY),
        },
        {"recall": 2, "token": 1, "throttled": 1, "again": 0},
        duplicates=3,
    )
    assert report.to_json() == {
        "version": 1,
        "recalled": ["a"],
        "failed": {"b": {"code": "some.code", "message": "DingTalk: some.code.", "next_step": "Do something."}},
        "expired": {"c": {"code": "other.code", "message": "DingTalk: other.code.", "next_step": "Do something else."}},
        "unknown": {"d": {"code": "some.code", "message": "DingTalk: some.code.", "next_step": "Do something."}},
        "counts": {"recalled": 1, "failed": 1, "expired": 1, "unknown": 1, "total": 4, "duplicates": 3},
        "api_calls": {"recall": 2, "throttled": 1, "token": 1, "total": 3},
    }


def test_the_report_is_plain_json_through_and_through() -> None:
    as_json = report_of(recalled=2, failed=2, expired=1, unknown=1).to_json()
    copy = json.loads(json.dumps(as_json))
    assert copy == as_json
    assert all(type(name) is str for part in as_json.values() if isinstance(part, dict) for name in part)


def test_the_report_of_nothing_has_the_same_shape() -> None:
    assert Report().to_json() == {
        "version": 1,
        "recalled": [],
        "failed": {},
        "expired": {},
        "unknown": {},
        "counts": {"recalled": 0, "failed": 0, "expired": 0, "unknown": 0, "total": 0, "duplicates": 0},
        "api_calls": {"total": 0},
    }


@pytest.mark.parametrize("name", [outcome.value for outcome in Outcome])
def test_a_long_list_is_cut_and_what_was_cut_is_counted(name: str) -> None:
    most = MAX_LISTED[name]
    full, longer = (report_of(calls={}, **{name: count}).to_json() for count in (most, most + 7))
    assert len(full[name]) == len(longer[name]) == most
    assert "omitted" not in full
    assert longer["omitted"] == {name: 7}
    assert longer["counts"][name] == longer["counts"]["total"] == most + 7


def test_the_first_ones_stay_when_a_list_is_cut() -> None:
    listed = report_of(recalled=MAX_LISTED["recalled"] + 1).to_json()["recalled"]
    assert listed == [f"recalled-{number}" for number in range(MAX_LISTED["recalled"])]


def test_a_report_of_ten_thousand_fits_into_an_xcom() -> None:
    good = json.dumps(report_of(recalled=10_000).to_json())
    bad = json.dumps(report_of(failed=10_000, unknown=10_000, expired=10_000).to_json())
    assert len(good) < 5_000
    assert len(bad) < 500_000


def test_the_table_says_counts_reasons_and_cost() -> None:
    report = report_of(recalled=3, failed=4, unknown=1, calls={"recall": 1, "status": 3, "throttled": 2, "again": 0})
    assert report.table().splitlines() == [
        "recalled 3   failed 4   expired 0   unknown 1   total 8",
        "  4 failed: some.code. Do something. Messages: failed-0, failed-1, failed-2, …",
        "  1 unknown: some.code. Do something. Messages: unknown-0",
        "api calls recall 1   status 3   throttled 2   total 4",
    ]


@pytest.mark.parametrize(("option", "begins_at"), [("zh", 0), ("both", 4)])
def test_the_table_is_whole_in_each_language(monkeypatch: pytest.MonkeyPatch, option: str, begins_at: int) -> None:
    monkeypatch.setenv(VARIABLE, option)
    again = Reason("some.code", "DingTalk: some.code.", "Run the recall again.")
    settled = {"a": MessageResult(Outcome.RECALLED), "b": MessageResult(Outcome.FAILED, again)}
    lines = Report(settled | {"c": MessageResult(Outcome.UNKNOWN)}, {"recall": 1, "throttled": 1}).table().splitlines()
    assert lines[begins_at:] == [
        "已撤回 1   失败 1   已过期 0   未知 1   合计 3",
        "  1 条失败：some.code。请重新执行撤回。消息 ID：b",
        "  1 条未知：无原因。消息 ID：c",
        "API 调用 撤回 1   限流 1   合计 1",
    ]
    assert [line.split()[:2] for line in lines[:begins_at]] == (
        [["recalled", "1"], ["1", "failed:"], ["1", "unknown:"], ["api", "calls"]] if begins_at else []
    )


def test_a_report_for_programs_stays_english(monkeypatch: pytest.MonkeyPatch) -> None:
    report = report_of(recalled=1, failed=1, calls={"recall": 1})
    english = report.to_json()
    monkeypatch.setenv(VARIABLE, "zh")
    assert report.to_json() == english


def test_the_same_failure_of_many_messages_is_one_line() -> None:
    settled = {key: MessageResult(Outcome.FAILED, Reason("bad", f"The key {key} is bad.", "Look.")) for key in "abcd"}
    assert "  4 failed: bad. Look. Messages: a, b, c, …" in Report(settled).table().splitlines()


def test_the_table_stays_short_whatever_went_wrong() -> None:
    settled = {
        f"{number}": MessageResult(Outcome.FAILED, Reason(f"code.{number}", "message", "step"))
        for number in range(1000)
    }
    lines = Report(settled, {}).table().splitlines()
    assert len(lines) <= 13
    assert "  and 990 more reasons" in lines


def test_recalled_messages_need_no_line_of_their_own() -> None:
    assert report_of(recalled=5).table().splitlines() == [
        "recalled 5   failed 0   expired 0   unknown 0   total 5",
        "api calls total 0",
    ]


def test_every_message_is_in_exactly_one_class_and_in_order() -> None:
    report = report_of(recalled=2, failed=3, expired=1, unknown=4)
    lists = [report.keys(outcome) for outcome in Outcome]
    assert [len(keys) for keys in lists] == [2, 3, 1, 4]
    assert {key for keys in lists for key in keys} == set(report.results)
    assert report.keys(Outcome.FAILED) == ["failed-0", "failed-1", "failed-2"]


def test_a_reason_is_what_the_error_says_and_no_longer_than_a_line() -> None:
    error = error_for("bot.stopped", "x" * 1000, status_code=400, endpoint="robot/groupMessages/recall")
    reason = Reason.of(error)
    assert reason.code == "bot.stopped"
    assert len(reason.message) == 300
    assert reason.next_step == error.next_step != ""


@pytest.mark.parametrize("error", [error_for("", "", status_code=502), ConnectionFailedError("nothing")])
def test_an_error_without_a_code_still_has_a_word_for_it(error: Exception) -> None:
    assert Reason.of(error).code == "no_code"  # type: ignore[arg-type]
