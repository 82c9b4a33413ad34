"""Waits that use up their API calls, meet outages, or resume."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from airflow_provider_dingtalk.exceptions import DingTalkError, TooManyCallsError
from airflow_provider_dingtalk.jobs.poll_schedule import PollSchedule, poll_schedule_of
from airflow_provider_dingtalk.jobs.wait import Wait
from airflow_provider_dingtalk.jobs.wait_state import WaitOptions, WaitState, state_of
from airflow_provider_dingtalk.language import VARIABLE
from airflow_provider_dingtalk.messages.conditions import Condition, target_of
from airflow_provider_dingtalk.messages.receipt import Kind
from tests.support.local_dingtalk import HOUR, LocalDingTalk
from tests.support.waits import ONE_READER, see_through, status_calls, wait_for

pytestmark = pytest.mark.anyio


# ── API calls ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("most", [1, 2, 5, 23])
@pytest.mark.parametrize("number", [1, 40])
async def test_a_wait_stops_when_its_calls_are_used_up(dingtalk: LocalDingTalk, most: int, number: int) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, number)
    # Short gaps: no second token is needed.
    wait = wait_for(dingtalk, receipts, max_api_calls=most + 1, poll_schedule=poll_schedule_of(60.0))
    with pytest.raises(TooManyCallsError) as ended:
        await see_through(dingtalk, wait)
    assert (ended.value.code, ended.value.permanent) == ("max_api_calls", True)
    # Token calls count, too. Of parallel calls the last ones may be reserved and not made.
    used = status_calls(dingtalk) + dingtalk.calls()["oauth2/accessToken"]
    assert (most + 1) // 2 <= used <= most + 1
    assert f"{used} API calls" in wait.usage()


async def test_pages_are_calls_too(dingtalk: LocalDingTalk) -> None:
    receipt = dingtalk.create_messages(Kind.GROUP)[0]
    dingtalk.faults({"match": "query", "action": {"type": "paging", "mode": "endless"}})
    with pytest.raises(TooManyCallsError):
        await wait_for(dingtalk, [receipt], Condition(min_readers=5000), max_api_calls=50).poll(dingtalk.client())
    assert sum(dingtalk.calls().values()) == 50


async def test_the_estimate_is_polls_by_messages_and_pages(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 3)
    dingtalk.read_by(receipts[0], count=401)
    wait = wait_for(dingtalk, receipts, Condition(min_readers=500), lasts=600, poll_schedule=poll_schedule_of(60.0))
    await wait.poll(dingtalk.client())
    said = wait.estimate()
    assert "about 10 polls × (3 messages + 2 further pages of readers) = 50 calls at most" in said
    assert "max_api_calls" in said
    used = wait.used["status"]
    await see_through(dingtalk, wait)
    assert wait.used["status"] - used == 50


@pytest.mark.parametrize("option", ["en", "zh", "both"])
async def test_the_lines_of_a_wait_are_in_the_language_of_the_option(
    dingtalk: LocalDingTalk, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setenv(VARIABLE, option)
    receipts = dingtalk.create_messages(Kind.GROUP, 3)
    dingtalk.read_by(receipts[0], count=2)
    wait = wait_for(dingtalk, receipts, lasts=600, poll_schedule=poll_schedule_of(60.0), max_api_calls=1000)
    before = wait.summary()
    await wait.poll(dingtalk.client())
    lines = [before, wait.summary(), wait.estimate(), wait.usage()]
    endless = wait_for(dingtalk, receipts, lasts=None, max_api_calls=1000)
    told = {
        "en": [
            "Nothing seen yet; 0 of 3 as wanted.",
            "3 SUCCESS, 2 readers; 1 of 3 as wanted.",
            (
                "Waiting for 2 messages for 600 s more: about 10 polls × (2 messages + 0 further pages of readers) = "
                "20 calls at most; it stops after 1000 calls (max_api_calls)."
            ),
            "The wait used 4 API calls: {'status': 3, 'token': 1}.",
            "Waiting for 3 messages without an end; it stops after 1000 calls (max_api_calls).",
        ],
        "zh": [
            "尚未查到状态；3 条中 0 条满足条件。",
            "3 SUCCESS，已读 2 人次；3 条中 1 条满足条件。",
            (
                "正在等待 2 条消息，还剩 600 秒：约 10 次查询 ×（2 条消息 + 已读人员的 0 个后续页）= 最多 20 次调用；"
                "达到 1000 次调用（max_api_calls）即停止。"
            ),
            "等待共用 4 次 API 调用：{'status': 3, 'token': 1}。",
            "正在等待 3 条消息，没有期限；达到 1000 次调用（max_api_calls）即停止。",
        ],
    }
    told["both"] = [f"{en} {zh}" for en, zh in zip(told["en"], told["zh"], strict=True)]
    assert [*lines, endless.estimate()] == told[option]


# ── trouble ──────────────────────────────────────────────────────────────────────────────────────────


async def test_an_outage_means_not_yet_and_costs_no_call_for_each_of_thousands(dingtalk: LocalDingTalk) -> None:
    dingtalk.behave(calls_per_second=0)
    receipts = dingtalk.create_messages(Kind.GROUP, 500)
    client = dingtalk.client()
    await client.authenticate()
    dingtalk.faults({"match": "query", "action": {"type": "status", "status": 500, "code": "unknownError"}})
    wait = wait_for(dingtalk, receipts, Condition(), lasts=HOUR)
    await wait.poll(client)
    assert status_calls(dingtalk) <= 3 * 30, "tries of what was under way"
    assert wait.next_due is not None
    assert wait.next_due - dingtalk.clock.now() > 25
    dingtalk.faults()
    await see_through(dingtalk, wait, client)
    assert wait.is_met


async def test_a_ban_is_waited_out(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 30)
    client = dingtalk.client()
    await client.authenticate()
    dingtalk.faults({"match": "query", "times": 1, "action": {"type": "ban"}})
    wait = wait_for(dingtalk, receipts, Condition(), lasts=HOUR)
    await wait.poll(client)
    asked = status_calls(dingtalk)
    assert asked <= 10
    assert wait.next_due is not None
    assert wait.next_due - dingtalk.clock.now() >= 290
    await see_through(dingtalk, wait, client)
    assert wait.is_met


async def test_an_outage_until_the_end_is_a_timeout(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 30)
    dingtalk.faults({"match": "query", "action": {"type": "status", "status": 500, "code": "unknownError"}})
    wait = wait_for(dingtalk, receipts, Condition(), lasts=300)
    polls = await see_through(dingtalk, wait)
    assert not wait.is_met
    assert wait.next_due is None
    assert polls < 30


async def test_what_no_waiting_mends_ends_the_wait(dingtalk: LocalDingTalk) -> None:
    with pytest.raises(DingTalkError) as ended:
        await wait_for(dingtalk, dingtalk.create_messages(Kind.GROUP, 30)).poll(dingtalk.client(secret="wrong"))
    assert ended.value.permanent


# ── resuming ─────────────────────────────────────────────────────────────────────────────────────────


class Story:
    """Sandbox in which messages of two sends are read at certain polls."""

    def __init__(self) -> None:
        self.dingtalk = LocalDingTalk()
        self.receipts = self.dingtalk.create_messages(Kind.GROUP, 10) + self.dingtalk.create_messages(
            Kind.GROUP, 10, age=5000
        )
        self.began = self.dingtalk.clock.now()

    def wait(self, state: WaitState | None = None) -> Wait:
        """Return the wait after the last poll, restored from plain JSON."""
        plain = msgspec.json.decode(msgspec.json.encode(state or WaitState()))
        wait_options = WaitOptions(poll_schedule=PollSchedule(), began=self.began, end=self.began + HOUR)
        targets = [target_of(receipt) for receipt in self.receipts]
        return Wait(targets, ONE_READER, wait_options, clock=self.dingtalk.clock, state=state_of(plain))

    def some_read(self, poll: int) -> None:
        for receipt in self.receipts[poll :: 10 - poll] if poll in (2, 5, 9) else ():
            self.dingtalk.read_by(receipt, "user001")

    def read_so_far(self, wait: Wait) -> list[dict[str, Any]]:
        return [entry for entry in wait.result() if entry["readers"]]


async def test_a_wait_that_is_rebuilt_before_each_poll_asks_and_finds_the_same() -> None:
    whole, pieces = Story(), Story()
    wait = whole.wait()
    polls = await see_through(whole.dingtalk, wait, before_poll=whole.some_read)
    client, piece, number = pieces.dingtalk.client(), pieces.wait(), 0
    while not piece.is_met and (due := piece.next_due) is not None:
        pieces.dingtalk.clock.advance(max(0.0, due - pieces.dingtalk.clock.now()))
        pieces.some_read(number)
        piece = pieces.wait(piece.state())
        await piece.poll(client)
        number += 1
    assert number == polls
    assert status_calls(pieces.dingtalk) == status_calls(whole.dingtalk)
    assert pieces.read_so_far(piece) == whole.read_so_far(wait) != []
