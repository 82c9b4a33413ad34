"""Keys of XComs, which rollbacks and DAGs of other versions read."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_dingtalk.task import xcoms


def test_the_keys_are_those_that_earlier_versions_pushed() -> None:
    keys = {
        name: value
        for name, value in vars(xcoms).items()
        if name.isupper() and name[0] != "_" and isinstance(value, str)
    }
    assert keys == {
        "ALERT_RECEIPTS": "alert_receipts",
        "DROPPED": "dropped",
        "KEPT": "kept",
        "KEPT_BEFORE_ERROR": "kept_before_error",
        "PLAN": "plan",
        "READERS": "readers",
        "RECALLED": "recalled_{}",
        "RECEIPTS": "receipts_{}",
        "RECEIPTS_COUNT": "receipts_count",
        "RECEIPTS_LATE": "receipts_late",
        "REFUSED": "refused",
        "REPORT": "report",
        "RETURN_VALUE": "return_value",
        "SENDING": "sending",
        "UNKNOWN": "unknown",
    }


def test_a_chunk_holds_as_many_items_as_readers_of_earlier_versions_expect() -> None:
    assert (xcoms.RECEIPTS_PER_XCOM, xcoms.KEYS_PER_XCOM) == (100, 5000)


def test_recalled_keys_are_pushed_in_chunks() -> None:
    keys = [f"k{number}" for number in range(xcoms.KEYS_PER_XCOM + 1)]
    pushed: dict[str, list[str]] = {}
    xcoms.push_recalled(pushed.__setitem__, keys)
    assert pushed == {"recalled_0": keys[:-1], "recalled_1": keys[-1:]}


def test_receipts_of_a_run_name_it_in_the_field_that_searches_of_other_versions_read() -> None:
    assert xcoms.with_run_id([{"kind": "oto"}], "manual__1") == [{"kind": "oto", "run_id": "manual__1"}]
    assert xcoms.run_id_of(xcoms.with_run_id([{}, {}], "manual__1")) == "manual__1"


@pytest.mark.parametrize(
    "chunk", [None, "run_id", [], {}, [None], [{}], [{"run_id": 1}], [{"run_id": ["a"]}, {}], [{"run_id": "a"}, {}]]
)
def test_a_chunk_that_names_no_run_or_not_in_all_receipts_is_of_none(chunk: Any) -> None:
    assert xcoms.run_id_of(chunk) is None
