"""Row ``poll_schedule``: API calls of a 24-hour wait on a simulated clock.

A real wait and a real client poll the sandbox in this process. A simulated user reads the message at a time
unknown to the wait. The sandbox counts the calls.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import httpx

from airflow_provider_dingtalk.client.auth import InternalApp
from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.hosts import hosts_at
from airflow_provider_dingtalk.jobs.poll_schedule import PollSchedule, poll_schedule_of
from airflow_provider_dingtalk.jobs.wait import Wait
from airflow_provider_dingtalk.jobs.wait_state import WaitOptions
from airflow_provider_dingtalk.messages.conditions import Condition, condition_of, target_of
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt, iso
from airflow_provider_dingtalk.sandbox.app import create_app
from airflow_provider_dingtalk.sandbox.control_requests import CreateMessages, MarkRead, create_messages, mark_read
from airflow_provider_dingtalk.sandbox.default import CLIENT_ID, CLIENT_SECRET, GROUPS, ROBOT_CODE, default_state
from benchmarks.results import Result, Row, at_most, beside, exactly

DAY = 86_400.0
API = "robot/groupMessages/query"
#: Number of waits without a reader, and of waits with one. Poll times depend on the message key.
MESSAGES = 40
READS = 400
SEED = 1
NEVER = 2.0
#: Seconds by which a reader may be seen later than 20 % of the message's age, because polls have a minimum gap.
SLACK = 60.0
SHARE = 0.2


class JumpingClock:
    """Clock that advances only by sleeping."""

    def __init__(self) -> None:
        self.time = 1_780_000_000.0

    def now(self) -> float:
        """Return the seconds since the epoch."""
        return self.time

    def monotonic(self) -> float:
        """Return the same time; this clock is never set back."""
        return self.time

    async def sleep(self, seconds: float) -> None:
        """Advance the clock without waiting."""
        await asyncio.sleep(0)
        self.time += max(seconds, 0.0)


def measure(quick: bool) -> Result:
    """Measure waits without a reader, and then waits with one."""
    messages, reads = (4, 20) if quick else (MESSAGES, READS)
    rng = random.Random(SEED)
    runs = [_wait(PollSchedule(), NEVER, number) for number in range(messages)]
    fixed = _wait(poll_schedule_of(30.0), NEVER, 0)
    # The bound grows with the age of the message, so read times are spread logarithmically over 24 h.
    moments = [2.0 ** rng.uniform(0.0, 16.39) / DAY for _ in range(reads)]
    seen = [_wait(PollSchedule(), moment, number) for number, moment in enumerate(moments)]
    late = [run["seen_at"] - run["read_at"] - SHARE * run["read_at"] for run in seen]
    figures = [
        at_most("status calls of a day, the most of all messages", max(run["calls"] for run in runs), 40),
        at_most("seconds from being read to being seen, over 20 % of the age, at most", max(late), SLACK, "s"),
        exactly("the same with a fixed interval of 30 s, after the first poll", fixed["calls"] - 1, 2880),
        exactly("waits that saw the reader", sum(run["met"] for run in seen), reads),
        beside("calls for tokens on top, which live two hours", max(run["token_calls"] for run in runs)),
    ]
    note = (
        f"{messages} messages without a reader, first and last poll counted; {reads} that are read at an "
        "age from 1 s to 24 h. The clock jumps."
    )
    return Result(figures, [*runs, fixed, *seen], [note])


def _wait(poll_schedule: PollSchedule, read_at: float, number: int) -> dict[str, Any]:
    return asyncio.run(_wait_a_day(poll_schedule, read_at * DAY, number))


async def _wait_a_day(poll_schedule: PollSchedule, read_at: float, number: int) -> dict[str, Any]:
    clock = JumpingClock()
    state = default_state(seed=number, now=clock.now)
    state.behaviour = state.behaviour.changed({"calls_per_second": 0, "status_window_hours": 48})
    (key,) = create_messages(state, CreateMessages(kind="group"))["keys"]
    began = clock.now()
    receipt = Receipt(
        kind=Kind.GROUP,
        robot_code=ROBOT_CODE,
        open_conversation_id=GROUPS[0],
        process_query_key=key,
        sent_at=iso(began),
    )
    wait_options = WaitOptions(poll_schedule=poll_schedule, began=began, end=began + DAY, max_api_calls=10_000)
    wait = Wait([target_of(receipt)], _one_reader(), wait_options, clock=clock)
    client = DingTalkClient(
        InternalApp(client_id=CLIENT_ID, client_secret=CLIENT_SECRET),
        hosts_at("http://127.0.0.1:1"),
        transport=httpx.ASGITransport(app=create_app(state)),
        clock=clock,
    )
    is_read = False
    await wait.poll(client)
    while not wait.is_met and (due := wait.next_due) is not None:
        if not is_read and due >= began + read_at:
            # The user reads between two polls, so the next poll finds the reader.
            is_read = bool(mark_read(state, MarkRead(key=key, count=1)))
        await clock.sleep(due - clock.now())
        await wait.poll(client)
    calls = state.journal.calls
    return {
        "read_at": round(read_at, 1),
        "seen_at": round(clock.now() - began, 1),
        "met": wait.is_met,
        "calls": calls[API].total,
        "token_calls": calls["oauth2/accessToken"].total,
    }


def _one_reader() -> Condition:
    return condition_of(["SUCCESS"], 1, [])


ROW = Row("poll_schedule", "API calls of a wait of 24 hours for one reader", measure)
