"""Work notifications."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import InvalidInputError, StatusUnavailableError
from airflow_provider_dingtalk.messages.conditions import Condition, target_of
from airflow_provider_dingtalk.messages.read_status import GIVE_UP_AFTER, StatusQuery
from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.messages.work_notification import TYPE
from tests.support.local_dingtalk import LocalDingTalk, receipt_for

pytestmark = pytest.mark.anyio


def test_people_go_by_100_and_departments_by_20() -> None:
    users, depts = [f"user{number}" for number in range(101)], list(range(1, 22))
    some = TYPE.send_requests(agent_id="7", user_ids=users, dept_ids=depts, text="hi")
    assert [(len(request.to), request.recipients) for request in some] == [(100, 100), (1, 1), (20, None), (1, None)]
    assert some[-1].call.dept_id_list == "21"


def test_all_users_are_one_call() -> None:
    (request,) = TYPE.send_requests(agent_id=7, to_all_user=True, text="hi")
    assert (request.to, request.recipients, request.call.to_all_user) == (("all users",), None, True)


@pytest.mark.parametrize(
    "given", [{}, {"user_ids": ["a"], "to_all_user": True}, {"dept_ids": [1], "to_all_user": True}]
)
def test_receivers_are_either_named_or_all(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="give user_ids or dept_ids, or to_all_user alone"):
        TYPE.send_requests(agent_id=7, text="hi", **given)


async def test_the_status_of_an_old_one_is_not_asked_for(dingtalk: LocalDingTalk) -> None:
    (receipt,) = dingtalk.create_messages(Kind.WORK_NOTIFICATION, age=GIVE_UP_AFTER + 1)
    query = StatusQuery(readers=False, now=dingtalk.clock.now(), used=Counter())
    with pytest.raises(StatusUnavailableError, match="24 hours"):
        await TYPE.read_status(dingtalk.client(), target_of(receipt), query)
    assert dingtalk.calls() == {}


@pytest.mark.parametrize(("readers", "is_sent", "calls"), [
    (False, False, ["getsendprogress"]),
    (True, False, ["getsendprogress", "getsendresult"]),
    (True, True, ["getsendresult"]),
    (False, True, []),
])  # fmt: skip
async def test_progress_and_readers_are_one_call_each(
    dingtalk: LocalDingTalk, readers: bool, is_sent: bool, calls: list[str]
) -> None:
    (receipt,) = dingtalk.create_messages(Kind.WORK_NOTIFICATION)
    query = StatusQuery(readers=readers, now=dingtalk.clock.now(), used=Counter(), is_sent=is_sent)
    assert (await TYPE.read_status(dingtalk.client(), target_of(receipt), query)).send_status == "SUCCESS"
    assert [api.rpartition("/")[2] for api in dingtalk.calls() if "corpconversation" in api] == calls


def test_a_recall_is_never_reported_so_nobody_waits_for_it() -> None:
    found = TYPE.obstacle(
        target_of(receipt_for(Kind.WORK_NOTIFICATION, 1)), Condition(send_statuses=frozenset({"RECALLED"}))
    )
    assert found is not None and found.code == "condition_unreachable"
