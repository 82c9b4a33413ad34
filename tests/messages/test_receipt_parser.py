"""Receipts from any input: parsed, or refused with the name of the field."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.messages.message_types import MESSAGE_TYPES, message_type
from airflow_provider_dingtalk.messages.receipt import (
    Kind,
    Receipt,
    iso,
)
from airflow_provider_dingtalk.messages.receipt_parser import parse_receipts

OTO: dict[str, Any] = {"kind": "oto", "robot_code": "robot", "process_query_key": "key=="}
GROUP = {**OTO, "kind": "group", "open_conversation_id": "cid"}
WORK = {"kind": "work_notification", "agent_id": "1000", "task_id": "256271667526"}
DING = {"kind": "ding", "robot_code": "robot", "open_ding_id": "d1"}
TEN_MEGABYTES = "k" * 10_000_000
#: More digits than Python prints.
HUGE = 10**5000


def nested(value: Any, depth: int) -> Any:
    for _ in range(depth):
        value = [value]
    return value


def generator() -> Any:
    yield OTO


class Endless(list[Any]):
    """A list that holds itself."""

    def __init__(self) -> None:
        super().__init__([self])


def without(receipt: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {field: value for field, value in receipt.items() if field != name}


BAD: dict[str, tuple[Any, str]] = {
    # Not a list of receipts at all
    "empty text": ("", "receipts"),
    "blank text": ("  ", "receipts"),
    "text": ("hello", "receipts"),
    "text that looks like none": ("none", "receipts"),
    "JSON number": ("17", "receipts"),
    "JSON text": ('"text"', "receipts"),
    "JSON text in JSON text": (json.dumps(json.dumps([OTO])), "receipts"),
    "cut JSON": ('[{"kind": "oto"', "receipts"),
    "deep JSON": ("[" * 100_000, "receipts"),
    "deep and whole JSON": ("[" * 100_000 + "]" * 100_000, "receipts"),
    "a lone surrogate": ("\ud800", "receipts"),
    "int": (17, "receipts"),
    "zero": (0, "receipts"),
    "huge int": (HUGE, "receipts"),
    "float": (1.5, "receipts"),
    "not a number": (float("nan"), "receipts"),
    "true": (True, "receipts"),
    "false": (False, "receipts"),
    "bytes": (b"[]", "receipts"),
    "bytearray": (bytearray(b"[]"), "receipts"),
    "set": ({"a"}, "receipts"),
    "generator": (generator(), "receipts"),
    "iterator": (iter([OTO]), "receipts"),
    "object": (object(), "receipts"),
    "class": (Receipt, "receipts"),
    "exception": (ValueError("x"), "receipts"),
    # A list with something else in it
    "list of int": ([1], "receipts[0]"),
    "list of text": (["a"], "receipts[0]"),
    "list of bytes": ([b"a"], "receipts[0]"),
    "list of true": ([True], "receipts[0]"),
    "list of an empty text": ([""], "receipts[0]"),
    "the second one is bad": ([OTO, 3], "receipts[1]"),
    "deep inside": ([[OTO], [[OTO, 3]]], "receipts[1][0][1]"),
    "in JSON in a list": ([json.dumps([OTO, 3])], "receipts[0][1]"),
    "range": (range(3), "receipts[0]"),
    "memoryview": (memoryview(b"ab"), "receipts[0]"),
    "nine lists": (nested(OTO, 9), "receipts"),
    "a list that holds itself": (Endless(), "receipts"),
    # Half receipts
    "empty dict": ({}, "receipts.kind"),
    "dict of something else": ({"a": 1}, "receipts.kind"),
    "kind only": ({"kind": "oto"}, "receipts.process_query_key"),
    "no key": (without(OTO, "process_query_key"), "receipts.process_query_key"),
    "no robot": (without(OTO, "robot_code"), "receipts.robot_code"),
    "no conversation": (without(GROUP, "open_conversation_id"), "receipts.open_conversation_id"),
    "no conversation of a chat": ({**OTO, "kind": "private_chat"}, "receipts.open_conversation_id"),
    "no agent": (without(WORK, "agent_id"), "receipts.agent_id"),
    "no task": (without(WORK, "task_id"), "receipts.task_id"),
    "no DING": (without(DING, "open_ding_id"), "receipts.open_ding_id"),
    "half a receipt of ours": (Receipt(kind=Kind.GROUP), "receipts.process_query_key"),
    "half a receipt of ours in a list": (
        [OTO, Receipt(kind=Kind.DING, open_ding_id="d")],
        "receipts[1].robot_code",
    ),
    "a receipt of ours with a bad task": (
        Receipt(kind=Kind.WORK_NOTIFICATION, agent_id="1", task_id="abc"),
        "receipts.task_id",
    ),
    "a receipt of ours with a bad date": (
        Receipt(kind=Kind.OTO, robot_code="r", process_query_key="k", sent_at="soon"),
        "receipts.sent_at",
    ),
    # Kind
    "kind None": ({**OTO, "kind": None}, "receipts.kind"),
    "unknown kind": ({**OTO, "kind": "carrier_pigeon"}, "receipts.kind"),
    "kind in capitals": ({**OTO, "kind": "OTO"}, "receipts.kind"),
    "kind int": ({**OTO, "kind": 1}, "receipts.kind"),
    "kind huge int": ({**OTO, "kind": HUGE}, "receipts.kind"),
    "kind list": ({**OTO, "kind": ["oto"]}, "receipts.kind"),
    "kind dict": ({**OTO, "kind": {}}, "receipts.kind"),
    "kind of ten megabytes": ({**OTO, "kind": TEN_MEGABYTES}, "receipts.kind"),
    # Version
    "a later version": ({**OTO, "version": 3}, "receipts.version"),
    "version text": ({**OTO, "version": "1"}, "receipts.version"),
    "version true": ({**OTO, "version": True}, "receipts.version"),
    "conn_id a number": ({**OTO, "conn_id": 7}, "receipts.conn_id"),
    "conn_id blank": ({**OTO, "conn_id": " "}, "receipts.conn_id"),
    "conn_id a list": ({**OTO, "conn_id": ["a"]}, "receipts.conn_id"),
    "version None": ({**OTO, "version": None}, "receipts.version"),
    "version huge": ({**OTO, "version": HUGE}, "receipts.version"),
    # Keys
    "key int": ({**OTO, "process_query_key": 5}, "receipts.process_query_key"),
    "key true": ({**OTO, "process_query_key": True}, "receipts.process_query_key"),
    "key list": ({**OTO, "process_query_key": ["a"]}, "receipts.process_query_key"),
    "key bytes": ({**OTO, "process_query_key": b"a"}, "receipts.process_query_key"),
    "key empty": ({**OTO, "process_query_key": ""}, "receipts.process_query_key"),
    "key blank": ({**OTO, "process_query_key": " \t"}, "receipts.process_query_key"),
    "blank before the key": ({**OTO, "process_query_key": " a"}, "receipts.process_query_key"),
    "line end after the key": ({**OTO, "process_query_key": "a\n"}, "receipts.process_query_key"),
    "zero byte in the key": ({**OTO, "process_query_key": "a\x00b"}, "receipts.process_query_key"),
    "escape in the key": ({**OTO, "process_query_key": "a\x1b[31mb"}, "receipts.process_query_key"),
    "reversed writing in the key": ({**OTO, "process_query_key": "a\u202eb"}, "receipts.process_query_key"),
    "surrogate in the key": ({**OTO, "process_query_key": "a\ud800b"}, "receipts.process_query_key"),
    "key of ten megabytes": ({**OTO, "process_query_key": TEN_MEGABYTES}, "receipts.process_query_key"),
    "key of 513": ({**OTO, "process_query_key": "k" * 513}, "receipts.process_query_key"),
    "robot blank": ({**OTO, "robot_code": " "}, "receipts.robot_code"),
    "robot int": ({**OTO, "robot_code": 5}, "receipts.robot_code"),
    "conversation dict": ({**GROUP, "open_conversation_id": {}}, "receipts.open_conversation_id"),
    # Numbers
    "task text": ({**WORK, "task_id": "abc"}, "receipts.task_id"),
    "task negative": ({**WORK, "task_id": -1}, "receipts.task_id"),
    "task true": ({**WORK, "task_id": True}, "receipts.task_id"),
    "task float": ({**WORK, "task_id": 1.0}, "receipts.task_id"),
    "task huge": ({**WORK, "task_id": HUGE}, "receipts.task_id"),
    "task of too many digits": ({**WORK, "task_id": "9" * 5000}, "receipts.task_id"),
    "task beyond 63 bits": ({**WORK, "task_id": 2**63}, "receipts.task_id"),
    "task text beyond 63 bits": ({**WORK, "task_id": str(2**63)}, "receipts.task_id"),
    "task in other digits": ({**WORK, "task_id": "\u0661\u0662"}, "receipts.task_id"),
    "task superscript": ({**WORK, "task_id": "\u00b2"}, "receipts.task_id"),
    "task with a sign": ({**WORK, "task_id": "+1"}, "receipts.task_id"),
    "agent empty": ({**WORK, "agent_id": ""}, "receipts.agent_id"),
    "agent text": ({**WORK, "agent_id": "agent"}, "receipts.agent_id"),
    # Dates
    "sent_at text": ({**OTO, "sent_at": "yesterday"}, "receipts.sent_at"),
    "sent_at empty": ({**OTO, "sent_at": ""}, "receipts.sent_at"),
    "sent_at now": ({**OTO, "sent_at": "now"}, "receipts.sent_at"),
    "sent_at int": ({**OTO, "sent_at": 1_780_000_000}, "receipts.sent_at"),
    "sent_at huge": ({**OTO, "sent_at": HUGE}, "receipts.sent_at"),
    "sent_at list": ({**OTO, "sent_at": []}, "receipts.sent_at"),
    "sent_at dict": ({**OTO, "sent_at": {}}, "receipts.sent_at"),
    "sent_at bytes": ({**OTO, "sent_at": b"2026-11-21"}, "receipts.sent_at"),
    "sent_at true": ({**OTO, "sent_at": True}, "receipts.sent_at"),
    "sent_at month 13": ({**OTO, "sent_at": "2026-13-01T00:00:00Z"}, "receipts.sent_at"),
    "sent_at a duration": ({**OTO, "sent_at": "P1D"}, "receipts.sent_at"),
    "sent_at an interval": ({**OTO, "sent_at": "2026-01-01/2026-01-02"}, "receipts.sent_at"),
    "sent_at of ten megabytes": ({**OTO, "sent_at": "2" * 10_000_000}, "receipts.sent_at"),
    "sent_at before all time": ({**OTO, "sent_at": "0001-01-01T00:00:00+23:59"}, "receipts.sent_at"),
    "sent_at after all time": ({**OTO, "sent_at": "9999-12-31T23:59:59-23:59"}, "receipts.sent_at"),
}

GOOD: dict[str, tuple[Any, int]] = {
    "None": (None, 0),
    "the text None": ("None", 0),
    "empty list": ([], 0),
    "empty tuple": ((), 0),
    "empty lists": ([[], [[]]], 0),
    "JSON of an empty list": ("[]", 0),
    "JSON with blanks": (" [ ] ", 0),
    "skipped tasks": ([None, "None", [None]], 0),
    "JSON of skipped tasks": ('[null, "None"]', 0),
    "one receipt": (OTO, 1),
    "one of ours": (Receipt(kind=Kind.OTO, robot_code="r", process_query_key="k"), 1),
    "one of each": ([OTO, GROUP, {**GROUP, "kind": "private_chat"}, WORK, DING], 5),
    "tuple": ((OTO, OTO), 2),
    "deque": (deque([OTO]), 1),
    "a mapping that is no dict": (MappingProxyType(OTO), 1),
    "mapped sends": ([[OTO], [OTO, None], "None", [[OTO]]], 3),
    "eight lists": (nested(OTO, 8), 1),
    "JSON": (json.dumps([OTO, WORK]), 2),
    "JSON of one": (json.dumps(OTO), 1),
    "JSON in a list": ([json.dumps([OTO]), json.dumps(WORK)], 2),
    "the same a thousand times": ([OTO] * 1000, 1000),
    "ten thousand": ([{**OTO, "process_query_key": f"k{n}"} for n in range(10_000)], 10_000),
    "numbers as numbers": ({**WORK, "agent_id": 1000, "task_id": 256271667526}, 1),
    "numbers with blanks": ({**WORK, "task_id": " 12 "}, 1),
    "fields nobody knows": ({**OTO, "colour": "blue"}, 1),
    "a key of 512": ({**OTO, "process_query_key": "k" * 512}, 1),
    "a key in Chinese": ({**OTO, "process_query_key": "消息"}, 1),
    "version 1": ({**OTO, "version": 1}, 1),
    "version 2": ({**OTO, "version": 2}, 1),
    "a connection": ({**OTO, "conn_id": "dingtalk_other"}, 1),
    "no connection": ({**OTO, "conn_id": None}, 1),
    "no version": (without({**OTO, "version": 1}, "version"), 1),
    "a date in another zone": ({**OTO, "sent_at": "2026-11-21T16:00:00+08:00"}, 1),
    "a date without a zone": ({**OTO, "sent_at": "2026-11-21T08:00:00"}, 1),
    "recipients that are no number": ({**OTO, "recipients": "many"}, 1),
    "fewer recipients than none": ({**OTO, "recipients": -5}, 1),
    "more recipients than Python prints": ({**OTO, "recipients": 10**5000}, 1),
}


def refusal_of(parse: Callable[[], object]) -> InvalidInputError:
    with pytest.raises(InvalidInputError) as caught:
        parse()
    return caught.value


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_receipt_is_refused_by_the_name_of_its_field(name: str) -> None:
    value, field = BAD[name]
    error = refusal_of(lambda: parse_receipts(value))
    assert error.field == field
    assert str(error).startswith(f"{field}: ")
    assert len(str(error)) < 300, "the value is not shown in full"
    assert error.permanent


def test_the_table_of_bad_receipts_is_long() -> None:
    assert len(BAD) >= 60


@pytest.mark.parametrize("name", GOOD)
def test_what_mapped_and_skipped_tasks_leave_is_taken(name: str) -> None:
    value, count = GOOD[name]
    assert len(parse_receipts(value)) == count


def test_the_field_has_the_name_of_the_argument() -> None:
    assert refusal_of(lambda: parse_receipts([1], "messages")).field == "messages[0]"


def test_order_is_kept_when_lists_are_flattened() -> None:
    def keyed(*names: str) -> list[dict[str, Any]]:
        return [{**OTO, "process_query_key": name} for name in names]

    parsed = parse_receipts([keyed("a"), [keyed("b", "c")], None, *keyed("d")])
    assert [receipt.key for receipt in parsed] == ["a", "b", "c", "d"]


def test_dates_become_utc_and_the_same_moment() -> None:
    here, there = parse_receipts(
        [{**OTO, "sent_at": "2026-11-21T08:00:00Z"}, {**OTO, "sent_at": "2026-11-21T16:00:00+08:00"}]
    )
    assert here.sent_at == there.sent_at == "2026-11-21T08:00:00.000Z"
    assert here.sent() == 1_795_248_000.0


def test_without_a_date_the_age_is_unknown() -> None:
    assert parse_receipts(OTO)[0].sent() is None


def test_a_receipt_names_its_connection_if_it_is_known() -> None:
    old, new = parse_receipts([{**OTO, "version": 1}, {**OTO, "version": 2, "conn_id": "dingtalk_other"}])
    assert (old.conn_id, new.conn_id) == (None, "dingtalk_other")
    assert parse_receipts(new.to_json()) == [new]


@pytest.mark.parametrize(
    ("text", "kept"),
    [("Revenue", "Revenue"), ("a\r\nb\x1b[2J", "ab[2J"), ("x" * 99, "x" * 40), ("\n", None), (5, None)],
)
def test_a_text_of_any_kind_harms_no_receipt(text: Any, kept: str | None) -> None:
    [receipt] = parse_receipts({**OTO, "text": text})
    assert receipt.text == kept


def test_numbers_become_text_without_zeros_in_front() -> None:
    receipt = parse_receipts({**WORK, "agent_id": 1000, "task_id": "0042"})[0]
    assert (receipt.agent_id, receipt.task_id, receipt.key) == ("1000", "42", "42")


def test_a_receipt_says_only_what_its_kind_has() -> None:
    parsed = parse_receipts([OTO, GROUP, WORK, DING])
    assert [set(receipt.to_json()) for receipt in parsed] == [
        {"version", "kind", "robot_code", "process_query_key"},
        {"version", "kind", "robot_code", "process_query_key", "open_conversation_id"},
        {"version", "kind", "agent_id", "task_id"},
        {"version", "kind", "robot_code", "open_ding_id"},
    ]


IDS = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=40)
NUMBERS = st.integers(0, 2**63 - 1).map(str)


@st.composite
def any_receipt(draw: st.DrawFn) -> Receipt:
    kind = draw(st.sampled_from(Kind))
    names = (message_type(kind).key_field, *message_type(kind).sender_fields)
    fields: dict[str, Any] = {name: draw(NUMBERS if name in ("task_id", "agent_id") else IDS) for name in names}
    moment = draw(st.none() | st.integers(0, 4_000_000_000_000).map(lambda ms: ms / 1000))
    return Receipt(
        kind=kind,
        sent_at=None if moment is None else iso(moment),
        recipients=draw(st.none() | st.integers(0, 10_000)),
        text=draw(st.none() | IDS),
        **fields,
    )


@settings(max_examples=80, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.lists(any_receipt(), max_size=5))
def test_what_goes_out_as_json_comes_back_the_same(receipts: list[Receipt]) -> None:
    plain = [receipt.to_json() for receipt in receipts]
    assert parse_receipts(plain) == receipts
    assert parse_receipts(json.dumps(plain)) == receipts
    assert parse_receipts([[receipt] for receipt in receipts]) == receipts


KEY_FIELDS = [of_kind.key_field for of_kind in MESSAGE_TYPES.values()]
JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.builds(lambda: HUGE),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["kind", "version", "sent_at", *KEY_FIELDS, "robot_code"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.one_of(JSONISH, JSONISH.map(lambda value: {**OTO, "kind": value}),
                 st.tuples(st.sampled_from(sorted({*OTO, "sent_at", "version", "recipients", "text"})), JSONISH)
                 .map(lambda item: {**OTO, item[0]: item[1]})))  # fmt: skip
def test_anything_at_all_is_parsed_or_refused_in_our_words(value: Any) -> None:
    error: InvalidInputError | None = None
    parsed: list[Receipt] = []
    try:
        parsed = parse_receipts(value)
    except InvalidInputError as refusal:
        error = refusal
    assert error is None or (error.field.startswith("receipts") and len(str(error)) < 300)
    assert all(isinstance(receipt, Receipt) and receipt.key for receipt in parsed)
