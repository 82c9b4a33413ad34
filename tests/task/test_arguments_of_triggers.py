"""Arguments of the trigger for asset watchers: Airflow drops a watcher whose arguments hash differently."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from airflow.serialization.serialized_objects import BaseSerialization
from airflow.triggers.base import BaseEventTrigger

from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.triggers import DingTalkReadEventTrigger
from tests.support.airflow_names import encode_trigger, import_string
from tests.support.local_dingtalk import receipt_for

RECEIPT = receipt_for(Kind.GROUP, "k1", sent_at="2026-11-28T08:00:00Z").to_json()
RECEIPTS: list[Any] = [
    [RECEIPT],
    RECEIPT,
    [RECEIPT, RECEIPT],
    [[RECEIPT], [[RECEIPT]]],
    (RECEIPT,),
    json.dumps([RECEIPT]),
    [json.dumps(RECEIPT)],
    [receipt_for(Kind.GROUP, "k1")],
    [RECEIPT, None],
]
WANTED: list[Any] = [
    None,
    {},
    {"min_readers": 20},
    {"send_statuses": ["SUCCESS", "PROCESSING"]},
    {"send_statuses": {"SUCCESS", "PROCESSING", "RECALLED"}},
    {"send_statuses": frozenset({"SUCCESS"}), "read_by": ("user001", "user002")},
    {"read_by": ["user001"], "min_read_share": 0.5, "audience": 3, "match": "any"},
    json.dumps({"min_readers": 1}),
]
SHAPES = [
    *[{"receipts": receipts} for receipts in RECEIPTS],
    *[{"receipts": [RECEIPT], "wanted": wanted} for wanted in WANTED],
    {"receipts": [RECEIPT], "poke_interval": dt.timedelta(minutes=1), "max_poke_interval": 60, "max_api_calls": 7},
    {"from_dag": "日报"},
    {"from_dag": "daily", "from_tasks": ["send", "send_more"], "wanted": {"send_statuses": {"SUCCESS"}}},
    {"from_dag": "daily", "from_tasks": "send"},
    {"from_dag": "daily", "from_tasks": ("send",), "dag_poll_interval": dt.timedelta(seconds=5), "watch_for": 60},
]


@pytest.mark.parametrize("arguments", SHAPES)
def test_a_watcher_hashes_the_same_before_and_after_it_is_stored(arguments: dict[str, Any]) -> None:
    path, given = DingTalkReadEventTrigger(**arguments).serialize()
    encoded = encode_trigger(DingTalkReadEventTrigger(**arguments))["kwargs"]
    # As Airflow keeps them: encrypted JSON of its own encoding, and decoded when it is read.
    stored = BaseSerialization.deserialize(json.loads(json.dumps(BaseSerialization.serialize(encoded))))
    decoded = {name: BaseSerialization.deserialize(value) for name, value in encoded.items()}
    hashes = {BaseEventTrigger.hash(path, each) for each in (given, encoded, stored, decoded)}
    assert len(hashes) == 1


@pytest.mark.parametrize("arguments", SHAPES)
def test_it_is_rebuilt_from_what_it_was_stored_as(arguments: dict[str, Any]) -> None:
    path, given = DingTalkReadEventTrigger(**arguments).serialize()
    assert import_string(path)(**json.loads(json.dumps(given))).serialize() == (path, given)


def test_all_forms_of_the_same_receipts_and_wishes_are_the_same_event() -> None:
    forms = [
        DingTalkReadEventTrigger(receipts=receipts, wanted={"send_statuses": statuses})
        for receipts in ([RECEIPT], (RECEIPT,), json.dumps([RECEIPT]))
        for statuses in (["PROCESSING", "SUCCESS"], {"SUCCESS", "PROCESSING"})
    ]
    assert len({form._mark() for form in forms}) == 1


def test_receipts_in_another_order_are_the_same_event() -> None:
    receipts = [{**RECEIPT, "process_query_key": key} for key in "abc"]
    marks = {DingTalkReadEventTrigger(receipts=given)._mark() for given in (receipts, receipts[::-1])}
    assert len(marks) == 1
    assert DingTalkReadEventTrigger(receipts=receipts[:2])._mark() not in marks


@pytest.mark.parametrize("field", ["receipts", "wanted", "from_tasks"])
def test_what_is_no_json_is_refused_when_the_file_is_parsed(field: str) -> None:
    with pytest.raises(InvalidInputError, match=field):
        DingTalkReadEventTrigger(**{field: [object()]})
