"""Waits for messages of the sandbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.jobs.poll_schedule import PollSchedule
from airflow_provider_dingtalk.jobs.wait import Wait
from airflow_provider_dingtalk.jobs.wait_state import WaitOptions
from airflow_provider_dingtalk.messages.conditions import Condition, target_of
from airflow_provider_dingtalk.messages.receipt import Receipt
from tests.support.local_dingtalk import HOUR, LocalDingTalk

DAY = 24 * HOUR
ONE_READER = Condition(min_readers=1)


NOT_STATUS = {"oauth2/accessToken"}


def wait_for(
    dingtalk: LocalDingTalk,
    receipts: Sequence[Receipt],
    condition: Condition = ONE_READER,
    *,
    lasts: float | None = DAY,
    poll_schedule: PollSchedule | None = None,
    max_api_calls: int = 1_000_000,
    **more: Any,
) -> Wait:
    began = dingtalk.clock.now()
    wait_options = WaitOptions(
        poll_schedule=poll_schedule or PollSchedule(),
        began=began,
        end=None if lasts is None else began + lasts,
        max_api_calls=max_api_calls,
    )
    return Wait([target_of(receipt) for receipt in receipts], condition, wait_options, clock=dingtalk.clock, **more)


async def see_through(
    dingtalk: LocalDingTalk,
    wait: Wait,
    client: DingTalkClient | None = None,
    before_poll: Callable[[int], None] = lambda poll: None,
) -> int:
    """Poll whenever due until the wait ends, and return the number of polls."""
    client = client or dingtalk.client()
    polls = 0
    while not wait.is_met and (due := wait.next_due) is not None:
        dingtalk.clock.advance(max(0.0, due - dingtalk.clock.now()))
        before_poll(polls)
        await wait.poll(client)
        polls += 1
    return polls


def status_calls(dingtalk: LocalDingTalk) -> int:
    return sum(number for api, number in dingtalk.calls().items() if api not in NOT_STATUS)
