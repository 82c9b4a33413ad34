"""DINGs."""

from __future__ import annotations

import pytest

from airflow_provider_dingtalk.client.endpoints import DingResult
from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.messages.ding import TYPE

PEOPLE = [f"user{number:03d}" for number in range(1, 202)]


@pytest.mark.parametrize(("remind_type", "number", "calls"), [("app", 1, 2), ("sms", 2, 11), ("phone", 3, 11)])
def test_a_call_has_200_people_or_20_by_sms_and_telephone(remind_type: str, number: int, calls: int) -> None:
    some = TYPE.send_requests(user_ids=PEOPLE, robot_code="robot", text="hi", remind_type=remind_type)
    assert len(some) == calls
    assert {request.call.remind_type for request in some} == {number}


def test_the_former_name_of_text_is_understood_alone() -> None:
    (old,) = TYPE.send_requests(user_ids="a", robot_code="robot", content="hi")
    assert [old] == TYPE.send_requests(user_ids="a", robot_code="robot", text="hi")
    with pytest.raises(InvalidInputError, match="content: is the former name of text"):
        TYPE.send_requests(user_ids="a", robot_code="robot", text="hi", content="hi")


def test_dropped_people_are_named_with_the_reason() -> None:
    answer = DingResult(open_ding_id="d", failed_list={"staffId.notExisted": ["a", "b"]})
    assert TYPE.undelivered(answer) == {"a": "staffId.notExisted", "b": "staffId.notExisted"}


def test_only_the_key_in_the_answer_is_recalled() -> None:
    assert TYPE.recall_lists(["mine"], DingResult(open_ding_id="other")) == (("other",), {})
