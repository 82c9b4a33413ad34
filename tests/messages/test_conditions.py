"""Conditions on shares and on several messages: met, unknowable and invalid ones."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.messages.conditions import (
    Condition,
    Judgement,
    MessageStatus,
    condition_of,
    evaluate,
    evaluate_all,
    target_of,
)
from airflow_provider_dingtalk.messages.message_types import check_targets, obstacle_of
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from tests.support.local_dingtalk import receipt_for

MET, NOT_YET, NEVER = Judgement.MET, Judgement.NOT_YET, Judgement.NEVER


def message_status(readers: int, recipients: int | None = None, status: str = "SUCCESS") -> MessageStatus:
    who = tuple(f"user{number}" for number in range(readers))
    return MessageStatus(key="k", send_status=status, readers=who, recipients=recipients)


@pytest.mark.parametrize(("seen", "condition", "judgement"), [
    (message_status(8, 10), Condition(min_read_share=0.8), MET),
    (message_status(7, 10), Condition(min_read_share=0.8), NOT_YET),
    (message_status(3, 10), Condition(min_read_share=0.3), MET),
    (message_status(2, 3), Condition(min_read_share=2 / 3), MET),
    (message_status(1, 3), Condition(min_read_share=2 / 3), NOT_YET),
    (message_status(10, 10), Condition(min_read_share=1.0), MET),
    (message_status(9, 10), Condition(min_read_share=1.0), NOT_YET),
    (message_status(1, 1000), Condition(min_read_share=0.0001), MET),
    (message_status(0, 1000), Condition(min_read_share=0.0001), NOT_YET),
    # With an unknown number of recipients, or with none, there is no share.
    (message_status(5, None), Condition(min_read_share=0.1), NOT_YET),
    (message_status(0, 0), Condition(min_read_share=0.1), NOT_YET),
    # The caller's audience takes precedence over DingTalk's number.
    (message_status(5, 100), Condition(min_read_share=0.5, audience=10), MET),
    (message_status(5, None), Condition(min_read_share=0.5, audience=10), MET),
    (message_status(5, 10), Condition(min_read_share=0.5, audience=100), NOT_YET),
    # All that is given must hold.
    (message_status(5, 10), Condition(min_read_share=0.5, min_readers=6), NOT_YET),
    (message_status(6, 10), Condition(min_read_share=0.5, min_readers=6), MET),
    (message_status(5, 10), Condition(min_read_share=0.5, read_by=("user9",)), NOT_YET),
    (message_status(5, 10), Condition(min_read_share=0.5, read_by=("user4",)), MET),
    (message_status(9, 10, "PROCESSING"), Condition(min_read_share=0.5), NOT_YET),
    (message_status(9, 10, "RECALLED"), Condition(min_read_share=0.5), NEVER),
])  # fmt: skip
def test_a_share_is_met_by_so_many_of_those_who_got_it(
    seen: MessageStatus, condition: Condition, judgement: Judgement
) -> None:
    assert evaluate(seen, condition) is judgement
    assert condition.asks_for_readers


@pytest.mark.parametrize(
    ("wanted", "judgement"), [({"PROCESSING"}, NEVER), ({"PROCESSING", "RECALLED"}, NOT_YET), ({"RECALLED"}, NOT_YET)]
)
def test_a_message_that_is_sent_is_not_processed_again(wanted: set[str], judgement: Judgement) -> None:
    assert evaluate(message_status(0), Condition(send_statuses=frozenset(wanted))) is judgement


@pytest.mark.parametrize("judgements", [*product(Judgement, repeat=1), *product(Judgement, repeat=3)])
def test_all_messages_or_any_one(judgements: tuple[Judgement, ...]) -> None:
    together = evaluate_all(judgements, Condition(match="all"))
    assert (together is MET) == all(each is MET for each in judgements)
    assert (together is NEVER) == any(each is NEVER for each in judgements)
    one = evaluate_all(judgements, Condition(match="any"))
    assert (one is MET) == any(each is MET for each in judgements)
    assert (one is NEVER) == all(each is NEVER for each in judgements)


@pytest.mark.parametrize(("arguments", "field"), [
    *[({"min_read_share": odd}, "min_read_share") for odd in (0, 0.0, -0.5, 1.01, 80, True, "half", [0.5])],
    ({"min_read_share": float("nan")}, "min_read_share"),
    *[({"audience": odd}, "audience") for odd in (0, -1, 1.5, True, "ten", [10])],
    *[({"send_statuses": [odd]}, "send_statuses") for odd in ("SUCESS", "success", "READ", "SUCCESS ")],
    ({"send_statuses": {"SUCCESS", "LATER"}}, "send_statuses"),
    ({"min_readers": 3, "audience": 2}, "audience"),
    ({"read_by": ["a", "b", "c"], "audience": 2}, "audience"),
    *[({"match": odd}, "match") for odd in ("", "ALL", "most", None, 1)],
])  # fmt: skip
def test_what_is_of_no_use_is_refused_by_the_name_of_its_field(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        condition_of(arguments.pop("send_statuses", None), **arguments)
    assert refusal.value.field == field


def receipt(kind: Kind, recipients: int | None = None) -> Receipt:
    made = receipt_for(kind, "1")
    return Receipt(**{name: getattr(made, name) for name in made.__struct_fields__} | {"recipients": recipients})


SHARE = Condition(min_read_share=0.5)


@pytest.mark.parametrize(("made", "condition", "field"), [
    (receipt(Kind.GROUP), SHARE, "min_read_share"),
    (receipt(Kind.PRIVATE_CHAT), SHARE, "min_read_share"),
    (receipt(Kind.GROUP, 0), SHARE, "min_read_share"),
    (receipt(Kind.GROUP, 5), SHARE, None),
    (receipt(Kind.GROUP), Condition(min_read_share=0.5, audience=5), None),
    (receipt(Kind.GROUP), Condition(min_readers=5), None),
    (receipt(Kind.OTO), SHARE, None),
    (receipt(Kind.WORK_NOTIFICATION), SHARE, None),
    (receipt(Kind.WORK_NOTIFICATION, 100), SHARE, None),
    (receipt(Kind.WORK_NOTIFICATION, 101), SHARE, "receipts"),
    (receipt(Kind.WORK_NOTIFICATION, 101), Condition(min_readers=1), "receipts"),
    (receipt(Kind.WORK_NOTIFICATION, 101), Condition(), None),
    (receipt(Kind.WORK_NOTIFICATION), Condition(min_readers=101), "min_readers"),
    (receipt(Kind.WORK_NOTIFICATION), Condition(read_by=tuple(map(str, range(101)))), "min_readers"),
    (receipt(Kind.DING), Condition(), "receipts"),
    *[(receipt(kind, 2), Condition(min_readers=3), "receipts") for kind in Kind if kind is not Kind.DING],
    (receipt(Kind.OTO, 2), Condition(min_readers=2), None),
    (receipt(Kind.OTO, 2), Condition(min_readers=3, audience=5), None),
    (receipt(Kind.OTO, 2), Condition(read_by=("a", "b", "c")), "receipts"),
    (receipt(Kind.OTO, 0), Condition(), "receipts"),
    (receipt(Kind.OTO, 0), Condition(needs_recipients=False), None),
    (receipt(Kind.WORK_NOTIFICATION, 0), Condition(), "receipts"),
    (receipt(Kind.GROUP, 0), Condition(), None),
    (receipt(Kind.WORK_NOTIFICATION), Condition(send_statuses=frozenset({"RECALLED"})), "receipts"),
    (receipt(Kind.WORK_NOTIFICATION), Condition(send_statuses=frozenset({"RECALLED", "SUCCESS"})), None),
    (receipt(Kind.OTO), Condition(send_statuses=frozenset({"RECALLED"})), None),
])  # fmt: skip
def test_what_can_never_be_known_is_refused_before_anything_is_asked(
    made: Receipt, condition: Condition, field: str | None
) -> None:
    targets = [target_of(made)]
    if field is None:
        check_targets(condition, targets)
        return
    with pytest.raises(InvalidInputError) as refusal:
        check_targets(condition, targets)
    assert refusal.value.field == field


def test_what_can_never_be_of_one_message_is_no_reason_to_refuse_a_wait_for_any() -> None:
    none, some = (target_of(receipt(Kind.OTO, number)) for number in (0, 5))
    condition = Condition(match="any")
    check_targets(condition, [none, some])
    with pytest.raises(InvalidInputError, match="reached no recipient"):
        check_targets(condition, [none, none])


@pytest.mark.parametrize(("made", "condition"), [
    (receipt(Kind.DING), Condition(match="any")),
    (receipt(Kind.WORK_NOTIFICATION, 101), Condition(match="any", min_readers=1)),
    (receipt(Kind.GROUP), Condition(match="any", min_read_share=0.5)),
])  # fmt: skip
def test_a_message_that_cannot_be_waited_for_is_no_reason_to_refuse_a_wait_for_any(
    made: Receipt, condition: Condition
) -> None:
    odd, usual = target_of(made), target_of(receipt(Kind.OTO, 5))
    check_targets(condition, [odd, usual])
    assert (found := obstacle_of(odd, condition)) and found.code == "condition_unreachable"
    with pytest.raises(InvalidInputError, match="cannot be waited for"):
        check_targets(condition, [odd, odd])


@pytest.mark.parametrize("field", ["min_readers", "audience"])
def test_a_number_of_more_digits_than_python_prints_is_refused(field: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{field}: must be a whole number"):
        condition_of(None, **{field: 10**5000})  # type: ignore[arg-type]
