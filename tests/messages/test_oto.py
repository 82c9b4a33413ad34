"""One-on-one messages."""

from __future__ import annotations

from collections import Counter

import pytest

from airflow_provider_dingtalk.client.endpoints import OtoSendResult
from airflow_provider_dingtalk.messages.conditions import target_of
from airflow_provider_dingtalk.messages.oto import TYPE
from airflow_provider_dingtalk.messages.read_status import StatusQuery
from airflow_provider_dingtalk.messages.receipt import Kind
from tests.support.local_dingtalk import LocalDingTalk

pytestmark = pytest.mark.anyio
PEOPLE = [f"user{number:03d}" for number in range(1, 46)]


@pytest.mark.parametrize(("one_each", "sizes"), [(False, [20, 20, 5]), (True, [1] * 45)])
def test_people_are_sent_to_by_20_or_one_by_one(one_each: bool, sizes: list[int]) -> None:
    some = TYPE.send_requests(user_ids=PEOPLE, robot_code="robot", one_receipt_per_user=one_each, text="hi")
    assert [request.recipients for request in some] == sizes
    assert [user for request in some for user in request.call.user_ids] == PEOPLE


def test_dropped_people_are_named_by_the_list_they_are_in() -> None:
    answer = OtoSendResult(
        process_query_key="k",
        invalid_staff_id_list=["a"],
        flow_controlled_staff_id_list=["b"],
        filtered_staff_id_list=["c"],
    )
    assert TYPE.undelivered(answer) == {"a": "invalid", "b": "flow_controlled", "c": "filtered"}
    assert TYPE.undelivered(OtoSendResult(process_query_key="k")) == {}


@pytest.mark.parametrize(("spelt", "status"), [("SUCESS", "SUCCESS"), ("SUCCESS", "SUCCESS"), ("NEW", "NEW")])
async def test_the_spelling_of_dingtalks_sample_is_understood(dingtalk: LocalDingTalk, spelt: str, status: str) -> None:
    (receipt,) = dingtalk.create_messages(Kind.OTO)
    dingtalk.faults({"match": "readStatus", "action": {"type": "mutate", "merge": {"sendStatus": spelt}}})
    query = StatusQuery(readers=True, now=dingtalk.clock.now(), used=Counter())
    assert (await TYPE.read_status(dingtalk.client(), target_of(receipt), query)).send_status == status
