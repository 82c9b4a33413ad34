"""Waits for work notifications: progress, result, people left out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from airflow_provider_dingtalk.exceptions import NoRecipientsError, StatusUnavailableError
from airflow_provider_dingtalk.messages.conditions import Condition
from airflow_provider_dingtalk.messages.read_status import GIVE_UP_AFTER
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from tests.support.local_dingtalk import LocalDingTalk
from tests.support.waits import ONE_READER, see_through, status_calls, wait_for

pytestmark = pytest.mark.anyio


RESULT = "topapi/message/corpconversation/getsendresult"
PROGRESS = "topapi/message/corpconversation/getsendprogress"


# ── work notifications ───────────────────────────────────────────────────────────────────────────────


async def test_a_work_notification_is_sent_then_read(dingtalk: LocalDingTalk) -> None:
    dingtalk.behave(processing_seconds=30)
    receipt = dingtalk.create_messages(Kind.WORK_NOTIFICATION)[0]
    message = dingtalk.message(receipt)
    assert message is not None
    message.receivers = ("user001", "user002", "user003", "user004")

    def half_read(poll: int) -> None:
        if poll == 4:
            dingtalk.state.read(message, ["user001", "user002"])

    wait = wait_for(dingtalk, [receipt], Condition(min_read_share=0.5))
    polls = await see_through(dingtalk, wait, before_poll=half_read)
    assert wait.result() == [{"key": receipt.key, "send_status": "SUCCESS", "readers": 2}]
    calls = dingtalk.calls()
    assert calls[PROGRESS] < polls, "once it went out, that is not asked again"
    assert calls[RESULT] + calls[PROGRESS] == wait.used["status"]


@pytest.mark.parametrize("needs_recipients", [True, False])
async def test_who_got_a_work_notification_costs_one_call_more(dingtalk: LocalDingTalk, needs_recipients: bool) -> None:
    dingtalk.behave(processing_seconds=30)
    condition = Condition(needs_recipients=needs_recipients)
    wait = wait_for(dingtalk, dingtalk.create_messages(Kind.WORK_NOTIFICATION), condition)
    polls = await see_through(dingtalk, wait)
    assert wait.is_met
    assert (dingtalk.calls()[PROGRESS], dingtalk.calls()[RESULT]) == (polls, int(needs_recipients))


LISTS = {
    "forbidden_user_id_list": ["user001"],
    "forbidden_list": [{"code": "143106", "count": 1, "userid": "user001"}],
    "failed_user_id_list": ["user002"],
    "invalid_user_id_list": ["zhang"],
    "invalid_dept_id_list": [77],
}
DROPPED = {"user001": "143106", "user002": "failed", "zhang": "invalid", "dept:77": "invalid"}


@pytest.mark.parametrize("name", [*LISTS, None])
@pytest.mark.parametrize("condition", [Condition(), ONE_READER, Condition(match="any")])
async def test_a_work_notification_that_no_recipients_is_an_error(
    dingtalk: LocalDingTalk, name: str | None, condition: Condition
) -> None:
    receipt = dingtalk.create_messages(Kind.WORK_NOTIFICATION)[0]
    nobody_got(dingtalk, receipt, LISTS if name is None else {name: LISTS[name]})
    wait = wait_for(dingtalk, [receipt], condition)
    with pytest.raises(NoRecipientsError, match=f"{receipt.key} reached no recipient") as ended:
        await see_through(dingtalk, wait)
    assert ended.value.permanent
    assert dingtalk.calls()[RESULT] == 1
    (entry,) = wait.result()
    assert entry["dropped"].items() <= {**DROPPED, "user001": entry["dropped"].get("user001")}.items()


async def test_a_task_that_is_done_is_enough_for_who_says_so(dingtalk: LocalDingTalk) -> None:
    receipt = dingtalk.create_messages(Kind.WORK_NOTIFICATION)[0]
    nobody_got(dingtalk, receipt, LISTS)
    wait = wait_for(dingtalk, [receipt], Condition(needs_recipients=False))
    await see_through(dingtalk, wait)
    assert wait.result() == [{"key": receipt.key, "send_status": "SUCCESS", "readers": None}]


async def test_people_who_were_left_out_are_in_the_result_and_in_the_log(
    dingtalk: LocalDingTalk, caplog: pytest.LogCaptureFixture
) -> None:
    receipt = dingtalk.create_messages(Kind.WORK_NOTIFICATION)[0]
    nobody_got(dingtalk, receipt, LISTS)
    message = dingtalk.message(receipt)
    assert message is not None
    message.receivers = ("user007",)
    wait = wait_for(dingtalk, [receipt], Condition())
    await see_through(dingtalk, wait)
    assert wait.result() == [{"key": receipt.key, "send_status": "SUCCESS", "readers": None, "dropped": DROPPED}]
    said = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert len(said) == 1
    assert "user001 (143106)" in said[0]


@pytest.mark.parametrize("recipients", [None, 101])
async def test_of_a_work_notification_to_more_than_a_hundred_it_is_enough_that_it_went_out(
    dingtalk: LocalDingTalk, recipients: int | None
) -> None:
    receipt = dingtalk.create_messages(Kind.WORK_NOTIFICATION)[0]
    message = dingtalk.message(receipt)
    assert message is not None
    message.receivers = tuple(f"user{number}" for number in range(101))
    receipt = msgspec.structs.replace(receipt, recipients=recipients)
    wait = wait_for(dingtalk, [receipt], Condition())
    await see_through(dingtalk, wait)
    assert wait.is_met
    assert (dingtalk.calls()[RESULT] > 0) == (recipients is None), "known to be too many, it is not asked"


def nobody_got(dingtalk: LocalDingTalk, receipt: Receipt, lists: dict[str, list[Any]]) -> None:
    """Make DingTalk drop a work notification."""
    message = dingtalk.message(receipt)
    assert message is not None
    message.receivers = ()
    message.undelivered = dict(lists)


async def test_of_an_old_work_notification_dingtalk_is_not_even_asked(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.WORK_NOTIFICATION, age=GIVE_UP_AFTER + 1)
    with pytest.raises(StatusUnavailableError):
        await wait_for(dingtalk, receipts).poll(dingtalk.client())
    assert status_calls(dingtalk) == 0
