"""State of waits, and checkpoints of it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from airflow_provider_dingtalk.exceptions import DingTalkError
from airflow_provider_dingtalk.jobs.poll_schedule import PollSchedule
from airflow_provider_dingtalk.jobs.wait import Wait
from airflow_provider_dingtalk.jobs.wait_state import WaitOptions, WaitState
from airflow_provider_dingtalk.messages.conditions import Condition, target_of
from airflow_provider_dingtalk.messages.receipt import Receipt
from tests.support.local_dingtalk import LocalDingTalk

READ = Condition(min_readers=1)


STATE = {
    "looked": 1.0,
    "used": {"status": 1, "token": 1},
    "met_by_key": {"k0": ["SUCCESS", 1, False, None]},
    "lost_keys": ["k1"],
    "sent_keys": ["k2"],
}


def wait_for(local: LocalDingTalk, receipts: list[Receipt], state: WaitState | None = None, **options: Any) -> Wait:
    now = local.clock.now()
    wait_options = WaitOptions(poll_schedule=PollSchedule(), began=now, end=now + 3600)
    return Wait(
        [target_of(receipt) for receipt in receipts],
        options.pop("condition", READ),
        wait_options,
        clock=local.clock,
        state=state,
    )


def _goes_on(local: LocalDingTalk, receipts: list[Receipt], state: WaitState | None) -> None:
    """Poll, or fail with one of our errors; the next poll must lie within the wait."""
    wait = wait_for(local, receipts, state)
    try:
        asyncio.run(wait.poll(local.client()))
    except DingTalkError:
        return
    assert wait.next_due is None or wait.next_due <= local.clock.now() + 3600
    assert isinstance(wait.summary(), str) and isinstance(wait.estimate(), str) and wait.calls >= 0
    msgspec.json.encode(wait.state())
