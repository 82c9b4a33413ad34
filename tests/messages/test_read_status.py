"""Status of a message and its readers, and conditions on them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import (
    InvalidInputError,
    InvalidKeyError,
    InvalidRequestError,
    StatusUnavailableError,
    UnexpectedResponseError,
)
from airflow_provider_dingtalk.messages.conditions import (
    Condition,
    Judgement,
    MessageStatus,
    condition_of,
    evaluate,
    target_of,
)
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.read_status import GIVE_UP_AFTER, MAX_PAGES, StatusQuery
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from tests.support.local_dingtalk import ROBOT_KINDS, STATUS_API, LocalDingTalk, receipt_for

pytestmark = pytest.mark.anyio

PAGED = (Kind.GROUP, Kind.PRIVATE_CHAT)


async def poll(dingtalk: LocalDingTalk, receipt: Receipt, *, readers: bool = True) -> MessageStatus:
    used: Counter[str] = Counter()
    before = dingtalk.status_calls()
    try:
        status_query = StatusQuery(readers=readers, now=dingtalk.clock.now(), used=used)
        of_kind = message_type(receipt.kind)
        return await of_kind.read_status(dingtalk.client(), target_of(receipt), status_query)
    finally:
        assert used["status"] == dingtalk.status_calls() - before


# ── Reading ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", PAGED)
@pytest.mark.parametrize(("readers", "pages"), [(0, 1), (1, 1), (200, 1), (201, 2), (400, 2), (1001, 6)])
async def test_readers_are_read_across_all_pages(dingtalk: LocalDingTalk, kind: Kind, readers: int, pages: int) -> None:
    receipt = dingtalk.create_messages(kind)[0]
    dingtalk.read_by(receipt, count=readers)
    message_status = await poll(dingtalk, receipt)
    message = dingtalk.message(receipt)
    assert message is not None
    assert message_status == MessageStatus(key=receipt.key, send_status="SUCCESS", readers=tuple(message.readers))
    assert len(message_status.readers or ()) == readers
    assert dingtalk.status_calls() == pages


@pytest.mark.parametrize("kind", ROBOT_KINDS)
async def test_without_an_interest_in_readers_one_call_is_enough(dingtalk: LocalDingTalk, kind: Kind) -> None:
    receipt = dingtalk.create_messages(kind)[0]
    dingtalk.read_by(receipt, count=500)
    message_status = await poll(dingtalk, receipt, readers=False)
    assert message_status == MessageStatus(key=receipt.key, send_status="SUCCESS", readers=None)
    assert dingtalk.calls()[STATUS_API[kind]] == 1


async def test_only_those_who_read_are_readers_of_a_one_on_one_message(dingtalk: LocalDingTalk) -> None:
    receipt = dingtalk.create_messages(Kind.OTO)[0]
    message = dingtalk.message(receipt)
    assert message is not None
    message.receivers = ("user001", "user002", "user003")
    dingtalk.read_by(receipt, "user003", "user001")
    message_status = await poll(dingtalk, receipt)
    assert message_status.readers == ("user001", "user003")


@pytest.mark.parametrize("kind", ROBOT_KINDS)
@pytest.mark.parametrize(("switch", "recall", "status"), [
    ({}, False, "SUCCESS"),
    ({"processing_seconds": 5}, False, "PROCESSING"),
    ({}, True, "RECALLED"),
])  # fmt: skip
async def test_the_state_is_dingtalks_word(
    dingtalk: LocalDingTalk, kind: Kind, switch: dict[str, Any], recall: bool, status: str
) -> None:
    receipt = dingtalk.create_messages(kind)[0]
    dingtalk.behave(**switch)
    if recall:
        await dingtalk.recall([receipt])
    assert (await poll(dingtalk, receipt)).send_status == status


async def test_somebody_on_two_pages_is_one_reader(dingtalk: LocalDingTalk) -> None:
    receipt = dingtalk.create_messages(Kind.GROUP)[0]
    dingtalk.read_by(receipt, count=201)
    dingtalk.faults({"match": "query", "nth": [2], "action": {"type": "mutate", "merge": {"readUserIds": ["user001"]}}})
    assert len((await poll(dingtalk, receipt)).readers or ()) == 200


@pytest.mark.parametrize("kind", PAGED)
@pytest.mark.parametrize(("mode", "most"), [("repeat", 3), ("no_token", 1), ("endless", MAX_PAGES)])
async def test_a_list_of_readers_without_end_is_an_error_that_says_so(
    dingtalk: LocalDingTalk, kind: Kind, mode: str, most: int
) -> None:
    receipt = dingtalk.create_messages(kind)[0]
    dingtalk.faults({"match": "query", "action": {"type": "paging", "mode": mode}})
    with pytest.raises(UnexpectedResponseError) as failure:
        await poll(dingtalk, receipt)
    assert failure.value.code == "endless_pages"
    assert "does not end" in str(failure.value)
    assert dingtalk.status_calls() <= most


@pytest.mark.parametrize("nth", [2, 3])
async def test_a_cursor_that_died_between_two_pages_costs_one_start_from_the_first(
    dingtalk: LocalDingTalk, nth: int
) -> None:
    receipt = dingtalk.create_messages(Kind.GROUP)[0]
    dingtalk.read_by(receipt, count=500)
    dead = {"type": "status", "status": 400, "code": "invalidParameter.cursor.invalid"}
    dingtalk.faults({"match": "query", "nth": [nth], "action": dead})
    message_status = await poll(dingtalk, receipt)
    assert len(message_status.readers or ()) == 500
    assert dingtalk.status_calls() == nth + 3


async def test_a_cursor_that_always_dies_is_an_error(dingtalk: LocalDingTalk) -> None:
    receipt = dingtalk.create_messages(Kind.GROUP)[0]
    dingtalk.read_by(receipt, count=500)
    dead = {"type": "status", "status": 400, "code": "invalidParameter.cursor.invalid"}
    dingtalk.faults({"match": "query", "every": 2, "action": dead})
    with pytest.raises(InvalidRequestError):
        await poll(dingtalk, receipt)
    assert dingtalk.status_calls() == 4


@pytest.mark.parametrize("kind", ROBOT_KINDS)
@pytest.mark.parametrize("dated", [True, False])
async def test_no_status_of_a_young_or_undated_message_means_not_yet(
    dingtalk: LocalDingTalk, kind: Kind, dated: bool
) -> None:
    dingtalk.behave(status_delay_seconds=60)
    receipt = dingtalk.create_messages(kind, dated=dated)[0]
    assert await poll(dingtalk, receipt) == MessageStatus(key=receipt.key, send_status=None)
    dingtalk.clock.advance(61)
    assert (await poll(dingtalk, receipt)).send_status == "SUCCESS"


@pytest.mark.parametrize("kind", ROBOT_KINDS)
async def test_no_status_of_an_old_message_means_never(dingtalk: LocalDingTalk, kind: Kind) -> None:
    dingtalk.behave(status_window_hours=24)
    receipt = dingtalk.create_messages(kind, age=GIVE_UP_AFTER + 1)[0]
    with pytest.raises(StatusUnavailableError) as failure:
        await poll(dingtalk, receipt)
    assert failure.value.code == "processQueryKey.expireTime"


@pytest.mark.parametrize("kind", ROBOT_KINDS)
async def test_the_status_of_no_message_is_an_error(dingtalk: LocalDingTalk, kind: Kind) -> None:
    with pytest.raises(InvalidKeyError):
        await poll(dingtalk, receipt_for(kind, "no-such-key"))


@pytest.mark.parametrize("kind", [Kind.DING])
async def test_kinds_without_a_status_are_refused_before_any_call(dingtalk: LocalDingTalk, kind: Kind) -> None:
    receipt = dingtalk.create_messages(kind)[0]
    with pytest.raises(InvalidInputError) as refusal:
        await poll(dingtalk, receipt)
    assert refusal.value.field == "receipts"
    assert dingtalk.calls() == {}


@pytest.mark.parametrize("kind", ROBOT_KINDS)
async def test_looking_again_after_a_lost_answer_harms_nobody_and_is_done(dingtalk: LocalDingTalk, kind: Kind) -> None:
    receipt = dingtalk.create_messages(kind)[0]
    dingtalk.faults({"match": STATUS_API[kind], "times": 2, "action": {"type": "drop"}})
    assert (await poll(dingtalk, receipt)).send_status == "SUCCESS"
    assert dingtalk.status_calls() == 3


async def test_a_state_nobody_knows_is_handed_on_as_it_is(dingtalk: LocalDingTalk) -> None:
    receipt = dingtalk.create_messages(Kind.GROUP)[0]
    dingtalk.faults({"match": "query", "action": {"type": "mutate", "merge": {"sendStatus": "SOMETHING_NEW"}}})
    message_status = await poll(dingtalk, receipt)
    assert message_status.send_status == "SOMETHING_NEW"
    assert evaluate(message_status, Condition()) is Judgement.NOT_YET


@pytest.mark.parametrize("merge", [{"sendStatus": None}, {"readUserIds": None, "hasMore": None, "sendStatus": None}])
async def test_an_answer_without_a_state_is_not_yet(dingtalk: LocalDingTalk, merge: dict[str, None]) -> None:
    receipt = dingtalk.create_messages(Kind.GROUP)[0]
    dingtalk.faults({"match": "query", "action": {"type": "mutate", "merge": merge}})
    message_status = await poll(dingtalk, receipt)
    assert message_status.send_status is None
    assert evaluate(message_status, Condition()) is Judgement.NOT_YET


# ── Judging ──────────────────────────────────────────────────────────────────────────────────────────

AB = ("a", "b")
MET, NOT_YET, NEVER = Judgement.MET, Judgement.NOT_YET, Judgement.NEVER


@pytest.mark.parametrize(("status", "readers", "condition", "judgement"), [
    ("SUCCESS", None, Condition(), MET),
    ("PROCESSING", None, Condition(), NOT_YET),
    (None, None, Condition(), NOT_YET),
    ("", None, Condition(), NOT_YET),
    ("success", None, Condition(), NOT_YET),
    ("SOMETHING_NEW", AB, Condition(min_readers=1), NOT_YET),
    ("RECALLED", None, Condition(), NEVER),
    ("RECALLED", AB, Condition(min_readers=1), NEVER),
    ("RECALLED", None, Condition(send_statuses=frozenset({"RECALLED"})), MET),
    ("RECALLED", None, Condition(send_statuses=frozenset({"SUCCESS", "RECALLED"})), MET),
    ("SUCCESS", None, Condition(send_statuses=frozenset({"RECALLED"})), NOT_YET),
    ("PROCESSING", None, Condition(send_statuses=frozenset({"PROCESSING", "SUCCESS"})), MET),
    ("SUCCESS", (), Condition(min_readers=1), NOT_YET),
    ("SUCCESS", None, Condition(min_readers=1), NOT_YET),
    ("SUCCESS", ("a",), Condition(min_readers=2), NOT_YET),
    ("SUCCESS", ("a", "a"), Condition(min_readers=2), NOT_YET),
    ("SUCCESS", AB, Condition(min_readers=2), MET),
    ("SUCCESS", AB, Condition(read_by=("a",)), MET),
    ("SUCCESS", AB, Condition(read_by=("b", "a")), MET),
    ("SUCCESS", AB, Condition(read_by=("a", "c")), NOT_YET),
    ("SUCCESS", AB, Condition(min_readers=3, read_by=("a",)), NOT_YET),
    ("SUCCESS", AB, Condition(min_readers=1, read_by=("c",)), NOT_YET),
    ("SUCCESS", AB, Condition(min_readers=2, read_by=AB), MET),
    ("PROCESSING", AB, Condition(min_readers=2, read_by=AB), NOT_YET),
])  # fmt: skip
def test_all_conditions_must_hold_and_an_unwanted_recall_ends_the_wait(
    status: str | None, readers: tuple[str, ...] | None, condition: Condition, judgement: Judgement
) -> None:
    assert evaluate(MessageStatus(key="k", send_status=status, readers=readers), condition) is judgement


@pytest.mark.parametrize(("condition", "asks"), [
    (Condition(), False),
    (Condition(min_readers=1), True),
    (Condition(read_by=("a",)), True),
])  # fmt: skip
def test_readers_are_asked_for_only_when_somebody_counts_them(condition: Condition, asks: bool) -> None:
    assert condition.asks_for_readers is asks


@pytest.mark.parametrize(("arguments", "field"), [
    ({"min_readers": -1}, "min_readers"),
    ({"min_readers": True}, "min_readers"),
    ({"min_readers": "3"}, "min_readers"),
    ({"min_readers": 1.0}, "min_readers"),
    ({"min_readers": None}, "min_readers"),
    ({"read_by": "user001"}, "read_by"),
    ({"read_by": b"user001"}, "read_by"),
    ({"read_by": 5}, "read_by"),
    ({"read_by": [1]}, "read_by"),
    ({"read_by": [""]}, "read_by"),
    ({"read_by": [["a"]]}, "read_by"),
    ({"send_statuses": "SUCCESS"}, "send_statuses"),
    ({"send_statuses": 5}, "send_statuses"),
    ({"send_statuses": [None]}, "send_statuses"),
])  # fmt: skip
def test_a_condition_of_no_use_is_refused_by_the_name_of_its_field(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        condition_of(**{"send_statuses": None, **arguments})
    assert refusal.value.field == field


def test_a_condition_without_anything_is_delivery() -> None:
    assert condition_of(None) == Condition(send_statuses=frozenset({"SUCCESS"}), min_readers=0, read_by=())
    assert condition_of(["RECALLED"], 2, ["a"]) == Condition(
        send_statuses=frozenset({"RECALLED"}), min_readers=2, read_by=("a",)
    )
