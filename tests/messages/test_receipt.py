"""Receipts and the ids in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt, SenderKey, iso, moment_of, parse_id, parse_keys

TEN_MEGABYTES = "k" * 10_000_000
#: More digits than Python prints.
HUGE = 10**5000


def refusal_of(parse: Callable[[], object]) -> InvalidInputError:
    with pytest.raises(InvalidInputError) as caught:
        parse()
    return caught.value


@pytest.mark.parametrize(("kind", "field"), [
    (Kind.OTO, "process_query_key"), (Kind.WORK_NOTIFICATION, "task_id"), (Kind.DING, "open_ding_id"),
])  # fmt: skip
def test_the_key_is_that_of_its_kind(kind: Kind, field: str) -> None:
    fields: dict[str, Any] = {field: "5"}
    receipt = Receipt(kind=kind, robot_code="robot", conn_id="mine", **fields)
    assert receipt.key == "5"
    assert receipt.sender_key == SenderKey(kind, "robot")
    assert receipt.to_json() == {"version": 2, "kind": kind, "conn_id": "mine", "robot_code": "robot", field: "5"}


def test_times_go_out_in_utc_and_come_back() -> None:
    assert iso(0.0) == "1970-01-01T00:00:00.000Z"
    assert moment_of("1970-01-01T08:00:00+08:00") == 0.0
    assert Receipt(kind=Kind.OTO, sent_at=iso(5.5)).sent() == 5.5
    assert Receipt(kind=Kind.OTO).sent() is None


BAD_KEYS: dict[str, tuple[Any, str]] = {
    "text": ("key", "keys"),
    "empty text": ("", "keys"),
    "JSON object": ("{}", "keys"),
    "JSON number": ("1", "keys"),
    "JSON of ints": ("[1]", "keys[0]"),
    "deep JSON": ("[" * 100_000, "keys"),
    "dict": ({"a": 1}, "keys"),
    "bytes": (b"ab", "keys"),
    "int": (5, "keys"),
    "generator": ((key for key in "ab"), "keys"),
    "nested": ([["a"]], "keys[0]"),
    "None inside": (["a", None], "keys[1]"),
    "int inside": (["a", 1], "keys[1]"),
    "huge int inside": ([HUGE], "keys[0]"),
    "blank inside": (["a", " "], "keys[1]"),
    "control character inside": (["a\r\nb"], "keys[0]"),
    "ten megabytes inside": ([TEN_MEGABYTES], "keys[0]"),
}


@pytest.mark.parametrize("name", BAD_KEYS)
def test_what_is_no_list_of_keys_is_refused_by_the_name_of_its_field(name: str) -> None:
    value, field = BAD_KEYS[name]
    error = refusal_of(lambda: parse_keys(value, "keys"))
    assert error.field == field
    assert len(str(error)) < 300


@pytest.mark.parametrize(("value", "keys"), [
    (None, []),
    ("None", []),
    ([], []),
    ("[]", []),
    (["a", "a"], ["a", "a"]),
    (("b", "a"), ["b", "a"]),
    ('["a", "b"]', ["a", "b"]),
    ({"a"}, ["a"]),
])  # fmt: skip
def test_lists_of_keys_keep_order_and_duplicates(value: Any, keys: list[str]) -> None:
    assert parse_keys(value, "keys") == keys


def test_task_ids_may_be_numbers() -> None:
    assert parse_keys([1, "2"], "msg_task_id") == ["1", "2"]
    assert parse_keys("[1, 2]", "msg_task_id") == ["1", "2"]
    assert refusal_of(lambda: parse_keys(["x"], "msg_task_id")).field == "msg_task_id[0]"


@pytest.mark.parametrize("value", [None, 1, "", " ", " a", "a\tb", "k" * 513, b"a", ["a"]])
def test_an_id_is_one_word_of_text(value: Any) -> None:
    assert refusal_of(lambda: parse_id(value, "robot_code")).field == "robot_code"
