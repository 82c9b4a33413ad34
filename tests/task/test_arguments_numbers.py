"""One rule for durations and counts, whatever operator, sensor or trigger they are given to."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.task.arguments import (
    is_missing,
    parse_count,
    parse_decimal,
    parse_number,
    parse_seconds,
)
from airflow_provider_dingtalk.triggers import DingTalkReadEventTrigger


@pytest.mark.parametrize(
    ("value", "seconds"), [(dt.timedelta(minutes=1), 60.0), (60, 60.0), ("60", 60.0), (" 1.5 ", 1.5), (0, 0.0)]
)
def test_a_duration_is_a_timedelta_a_number_or_its_text(value: Any, seconds: float) -> None:
    assert parse_seconds(value, "older_than") == seconds


@pytest.mark.parametrize("value", [-1, True, None, "", "soon", float("nan"), float("inf"), 10**400, dt.timedelta(-1)])
def test_anything_else_is_refused_by_its_field(value: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"^older_than: must be a timedelta or a number of seconds, 0 or more"):
        parse_seconds(value, "older_than")


@pytest.mark.parametrize("value", [0, "0", dt.timedelta()])
def test_some_durations_are_more_than_0(value: Any) -> None:
    with pytest.raises(InvalidInputError, match="more than 0"):
        parse_seconds(value, "max_wait", allow_zero=False)


def test_a_trigger_refuses_a_duration_when_the_dag_file_is_parsed() -> None:
    with pytest.raises(InvalidInputError, match=r"^poke_interval: "):
        DingTalkReadEventTrigger(receipts=[], poke_interval="often")  # type: ignore[arg-type]


@pytest.mark.parametrize(("value", "number"), [(3, 3), ("3", 3), (" 12 ", 12)])
def test_a_count_is_a_whole_number_or_its_text(value: Any, number: int) -> None:
    assert parse_count(value, "max_messages", 1) == number


@pytest.mark.parametrize(
    "value", [0, "0", -1, 1.0, True, None, "", "many", "²", "9" * 30, pytest.param(10**5000, id="huge")]
)
def test_no_other_value_is_a_count(value: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"^max_messages: must be a whole number, 1 or more"):
        parse_count(value, "max_messages", 1)


def test_texts_that_are_not_numbers_stay_for_the_check_that_names_them() -> None:
    assert (parse_number("many"), parse_decimal("most"), parse_decimal("0.8")) == ("many", "most", 0.8)


@pytest.mark.parametrize(("value", "missing"), [(None, True), ("", True), ("None", True), (0, False), ([], False)])
def test_a_missing_xcom_is_a_missing_value(value: Any, missing: bool) -> None:
    assert is_missing(value) is missing
