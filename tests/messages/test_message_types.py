"""Promises that each type of message keeps."""

from __future__ import annotations

import inspect
import json
from collections import Counter
from typing import Any

import msgspec
import pytest

from airflow_provider_dingtalk import operators, sensors
from airflow_provider_dingtalk.cli.arguments import KINDS
from airflow_provider_dingtalk.client.endpoints import fields_of
from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.get_provider_info import get_provider_info
from airflow_provider_dingtalk.jobs import batching
from airflow_provider_dingtalk.jobs.report import Outcome
from airflow_provider_dingtalk.messages.conditions import Condition, target_of
from airflow_provider_dingtalk.messages.message_types import (
    MESSAGE_TYPES,
    check_targets,
    message_type,
    send_requests_for,
)
from airflow_provider_dingtalk.messages.read_status import StatusQuery
from airflow_provider_dingtalk.messages.receipt import NUMERIC_FIELDS, Kind, Receipt, iso
from airflow_provider_dingtalk.messages.receipt_parser import parse_receipts
from airflow_provider_dingtalk.sandbox import handlers
from airflow_provider_dingtalk.task.arguments import receipts_of_keys
from tests.support.local_dingtalk import HOUR, RECALL_API, LocalDingTalk, keys_of, receipt_for
from tests.support.sends import PLAIN, send_requests, sent

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("kind", Kind)]
BEGAN = 1_790_000_000.0


def receipts(kind: Kind, count: int, **changes: Any) -> list[Receipt]:
    made = [receipt_for(kind, number, sent_at=iso(BEGAN)) for number in range(1, count + 1)]
    return [msgspec.structs.replace(receipt, **changes) for receipt in made]


def test_it_is_known_by_its_kind_in_each_table(kind: Kind) -> None:
    assert MESSAGE_TYPES[kind].kind is message_type(kind.value).kind is kind
    assert tuple(Kind) == KINDS, "the command line imports nothing, so it has the kinds again"
    assert tuple(Kind) == tuple(handlers.MESSAGE_TYPES)
    assert f"airflow_provider_dingtalk.operators.{kind}" in get_provider_info()["operators"][0]["python-modules"]


async def test_a_send_gives_a_receipt_that_recalls(dingtalk: LocalDingTalk, kind: Kind) -> None:
    job = await sent(dingtalk, send_requests(kind))
    job.raise_if_incomplete()
    (message,) = dingtalk.state.messages.values()
    (receipt,) = job.receipts
    assert (receipt.kind, receipt.key, receipt.sent_at) == (kind, str(message.key), iso(dingtalk.clock.now()))
    assert all(getattr(receipt, name) for name in message_type(kind).sender_fields)
    assert parse_receipts(json.dumps([receipt.to_json()])) == [receipt]
    recall = await dingtalk.recall(job.receipts)
    assert recall.report().keys(Outcome.RECALLED) == [receipt.key]
    assert dingtalk.calls()[RECALL_API[kind]] == 1


async def test_recipients_are_those_that_were_not_dropped(dingtalk: LocalDingTalk, kind: Kind) -> None:
    (request,) = send_requests(kind)
    job = await sent(dingtalk, [request])
    recipients = job.receipts[0].recipients
    assert recipients == (None if request.recipients is None else request.recipients - len(job.dropped))


def test_each_sender_has_its_own_batches(kind: Kind) -> None:
    for name in message_type(kind).sender_fields:
        some = receipts(kind, 1) + receipts(kind, 2, **{name: "77"})[1:]
        assert [batch.keys for batch in batching.batches(some)] == [("1",), ("2",)], name
        assert len({receipt.sender_key for receipt in some}) == 2


def test_a_batch_is_one_valid_call(kind: Kind) -> None:
    of_kind = message_type(kind)
    batches = batching.batches(receipts(kind, of_kind.batch_size + 1))
    assert [len(batch.keys) for batch in batches] == [of_kind.batch_size, 1]
    for batch in batches:
        fields = fields_of(of_kind.recall_request(batch.sender_key, batch.keys))
        assert all(key in str(fields) for key in batch.keys)


def test_the_recall_window_is_that_of_the_type(kind: Kind) -> None:
    (receipt,), window = receipts(kind, 1), message_type(kind).recall_window
    if window is None:
        assert not batching.is_too_old(receipt, BEGAN + 1e9)
        return
    assert not batching.is_too_old(receipt, BEGAN + window)
    assert batching.is_too_old(receipt, BEGAN + window + 1)
    assert not batching.is_too_old(msgspec.structs.replace(receipt, sent_at=None), BEGAN + 1e9), "its age is unknown"


async def test_the_recall_window_is_that_of_dingtalk(dingtalk: LocalDingTalk, kind: Kind) -> None:
    old = dingtalk.create_messages(kind, age=25 * HOUR)
    report = (await dingtalk.recall(old)).report()
    has_window = message_type(kind).recall_window is not None
    assert report.keys(Outcome.EXPIRED if has_window else Outcome.RECALLED) == keys_of(old)
    assert dingtalk.calls()[RECALL_API[kind]] == (not has_window), "an old one is given up without a call"


async def test_its_status_is_polled_or_refused_before_any_call(dingtalk: LocalDingTalk, kind: Kind) -> None:
    of_kind, (receipt,) = message_type(kind), dingtalk.create_messages(kind)
    query = StatusQuery(readers=True, now=dingtalk.clock.now(), used=Counter())
    if of_kind.has_status:
        check_targets(Condition(), [target_of(receipt)])
        assert (await of_kind.read_status(dingtalk.client(), target_of(receipt), query)).send_status == "SUCCESS"
        return
    with pytest.raises(InvalidInputError, match=r"receipts: .* cannot be asked for their state"):
        await of_kind.read_status(dingtalk.client(), target_of(receipt), query)
    with pytest.raises(InvalidInputError, match=r"receipts: .* cannot be asked for their state"):
        check_targets(Condition(), [target_of(receipt)])
    with pytest.raises(InvalidInputError, match=r"receipts: .* cannot be asked for their state"):
        of_kind.status_request(receipt.sender_key, receipt.key)
    assert dingtalk.calls() == {}


async def test_its_status_tells_of_a_recall_as_it_says(dingtalk: LocalDingTalk, kind: Kind) -> None:
    of_kind, (receipt,) = message_type(kind), dingtalk.create_messages(kind)
    await dingtalk.recall([receipt])
    if not of_kind.has_status:
        assert not of_kind.status_tells_recall
        return
    query = StatusQuery(readers=False, now=dingtalk.clock.now(), used=Counter())
    status = await of_kind.read_status(dingtalk.client(), target_of(receipt), query)
    assert (status.send_status == "RECALLED") == of_kind.status_tells_recall


def test_a_receipt_needs_key_and_sender(kind: Kind) -> None:
    of_kind, plain = message_type(kind), receipts(kind, 1)[0].to_json()
    for name in (of_kind.key_field, *of_kind.sender_fields):
        partial = {field: value for field, value in plain.items() if field != name}
        with pytest.raises(InvalidInputError, match=rf"receipts\[0\]\.{name}: is missing"):
            parse_receipts([partial])
        if of_kind.is_polled_by_key and name != of_kind.key_field:
            assert len(parse_receipts([partial], to_ask=True)) == 1
            continue
        with pytest.raises(InvalidInputError, match=rf"receipts\[0\]\.{name}: is missing"):
            parse_receipts([partial], to_ask=True)


def test_keys_are_parsed_by_the_argument_of_its_operator(kind: Kind) -> None:
    of_kind, (sample, *_) = message_type(kind), receipts(kind, 1)
    sender = {name: getattr(sample, name) for name in of_kind.sender_fields}
    made = receipts_of_keys(kind, ["1", "2"], of_kind.keys_argument, sender)
    assert keys_of(made) == ["1", "2"]
    assert {one.sender_key for one in made} == {sample.sender_key}
    is_number = of_kind.key_field in NUMERIC_FIELDS
    for key in (5, "no number"):
        if isinstance(key, int) == is_number:
            assert keys_of(receipts_of_keys(kind, [key], of_kind.keys_argument, sender)) == [str(key)]
            continue
        with pytest.raises(InvalidInputError, match=rf"{of_kind.keys_argument}\[0\]"):
            receipts_of_keys(kind, [key], of_kind.keys_argument, sender)


def test_a_wrong_or_missing_argument_of_a_send_is_refused_by_its_name(kind: Kind) -> None:
    with pytest.raises(InvalidInputError, match=f"colour: is not an argument of kind {kind}"):
        send_requests_for(kind, **PLAIN[kind], colour="blue")
    with pytest.raises(InvalidInputError, match="text: "):
        send_requests_for(kind, **{**PLAIN[kind], "text": None})
    sender = message_type(kind).default_sender
    with pytest.raises(InvalidInputError, match=f"{sender}: is missing"):
        send_requests_for(kind, **{**PLAIN[kind], sender: None})


def test_a_request_is_the_same_message_for_some_of_its_receivers(kind: Kind) -> None:
    (request,) = send_requests(kind)
    some = request.narrowed(request.to[:1])
    assert (some.to, some.content) == (request.to[:1], request.content)
    assert len(request.to) == 1 or some.address != request.address
    (other,) = send_requests(kind, text="another text")
    assert other.content != request.content


def test_operators_and_sensor_take_its_arguments(kind: Kind) -> None:
    of_kind = message_type(kind)
    named = [getattr(operators, name) for name in operators.__all__ if name.endswith("Operator")]
    send, recall = sorted(
        (one for one in named if getattr(one, "kind", None) == kind), key=lambda one: "Recall" in one.__name__
    )
    assert {*PLAIN[kind]} <= {*send.template_fields}
    assert {of_kind.keys_argument, of_kind.default_sender, "receipts"} <= {*recall.template_fields}
    of_sensors = [one for _, one in inspect.getmembers(sensors, inspect.isclass) if getattr(one, "kind", None) == kind]
    assert len(of_sensors) == of_kind.has_status
    for sensor in of_sensors:
        assert {of_kind.key_argument, of_kind.default_sender, "receipts"} <= {*sensor.template_fields}
