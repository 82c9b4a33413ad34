"""Checkpoints of recalls: intents, outcomes, and what a killed task left."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from airflow_provider_dingtalk.jobs.checkpoint import MemoryCheckpoint
from airflow_provider_dingtalk.jobs.recall import Recall
from airflow_provider_dingtalk.jobs.recall_results import RECALLED, KeyResult, KeyState
from airflow_provider_dingtalk.jobs.report import Outcome
from airflow_provider_dingtalk.messages.read_status import GIVE_UP_AFTER
from airflow_provider_dingtalk.messages.reason import Reason
from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.sandbox.default import GROUPS
from tests.support.checkpoints import WatchedCheckpoint
from tests.support.local_dingtalk import LocalDingTalk, check_account, codes_of, keys_of

pytestmark = pytest.mark.anyio


IN_DOUBT = KeyResult(KeyState.IN_DOUBT, final=False)


class BrokenCheckpoint(WatchedCheckpoint):
    """Checkpoint whose writes fail from a number on."""

    def __init__(self, breaks_at: int) -> None:
        super().__init__()
        self._breaks_at = breaks_at

    async def at(self, write: int) -> None:
        if write >= self._breaks_at:
            await asyncio.sleep(0)
            raise OSError("the disk is full")


class LoadOnce(MemoryCheckpoint):
    """Checkpoint of an earlier, killed task."""

    def __init__(self, key_results: Mapping[str, KeyResult]) -> None:
        super().__init__()
        self.results.update(key_results)


# ── Checkpoint ───────────────────────────────────────────────────────────────────────────────────────


async def test_the_intent_is_written_before_the_call_goes_out(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 400)

    class Before(WatchedCheckpoint):
        async def at(self, write: int) -> None:
            intended = sum(
                key_result.state is KeyState.IN_DOUBT for write in self.writes for key_result in write.values()
            )
            assert 20 * dingtalk.recall_calls() <= intended

    checkpoint = Before()
    await dingtalk.recall(receipts, checkpoint=checkpoint)
    assert {key: key_result.state for key, key_result in checkpoint.results.items()} == dict.fromkeys(
        keys_of(receipts), KeyState.RECALLED
    )


async def test_the_outcomes_of_a_whole_recall_are_in_the_checkpoint(dingtalk: LocalDingTalk) -> None:
    recalled, old = dingtalk.create_messages(Kind.OTO, 3), dingtalk.create_messages(Kind.OTO, 2, age=GIVE_UP_AFTER + 60)
    bad = dingtalk.create_messages(Kind.OTO, 1)[0]
    dingtalk.faults({"action": {"type": "fail_keys", "keys": [bad.key], "reason": "invalid.processQueryKey"}})
    checkpoint = MemoryCheckpoint()
    await dingtalk.recall([*recalled, *old, bad], checkpoint=checkpoint)
    states = {key: key_result.state for key, key_result in checkpoint.results.items()}
    assert states == {
        **dict.fromkeys(keys_of(recalled), KeyState.RECALLED),
        **dict.fromkeys(keys_of(old), KeyState.EXPIRED),
        bad.key: KeyState.FAILED,
    }


@pytest.mark.parametrize("breaks_at", [1, 2, 3, 5])
async def test_what_cannot_be_written_down_is_not_sent(dingtalk: LocalDingTalk, breaks_at: int) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 1000)
    checkpoint = BrokenCheckpoint(breaks_at)
    job = Recall(receipts, checkpoint=checkpoint, clock=dingtalk.clock)
    with pytest.raises(OSError, match="disk is full"):
        await job.run(dingtalk.client())
    report = job.report()
    check_account(dingtalk, report, receipts)
    touched = {receipt.key for receipt in receipts if dingtalk.is_recalled(receipt)}
    assert touched <= set(checkpoint.results), "a message was recalled whose intent is nowhere"
    assert set(report.keys(Outcome.FAILED)) >= set(keys_of(receipts)) - set(checkpoint.results)
    assert len(checkpoint.writes) == breaks_at - 1


async def test_intents_left_by_a_killed_task_are_recalled_again(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 40)
    left = dict.fromkeys(keys_of(receipts[:20]), IN_DOUBT)
    job = await dingtalk.recall(receipts, checkpoint=LoadOnce(left))
    assert job.report().counts()["recalled"] == 40
    assert dingtalk.recall_calls() == 2


@pytest.mark.parametrize("answer", ["success", "failed", "not_revoke_all"])
async def test_intents_that_had_been_carried_out_are_not_taken_for_failures(
    dingtalk: LocalDingTalk, answer: str
) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 5)
    await dingtalk.recall(receipts)
    dingtalk.behave(already_recalled=answer)
    job = await dingtalk.recall(receipts, checkpoint=LoadOnce(dict.fromkeys(keys_of(receipts), IN_DOUBT)), fresh=False)
    assert job.report().counts()["recalled"] == 5


async def test_an_intent_that_cannot_be_asked_about_and_is_refused_now_is_unknown(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.WORK_NOTIFICATION)
    await dingtalk.recall(receipts)
    dingtalk.behave(already_recalled="failed")
    job = await dingtalk.recall(receipts, checkpoint=LoadOnce({receipts[0].key: IN_DOUBT}), fresh=False)
    assert codes_of(job.report(), Outcome.UNKNOWN) == {receipts[0].key: "400002"}


async def test_an_intent_too_old_to_recall_again_is_asked_about(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.OTO, 1, age=GIVE_UP_AFTER + 60)
    job = await dingtalk.recall(receipts, checkpoint=LoadOnce({receipts[0].key: IN_DOUBT}))
    assert job.report().keys(Outcome.UNKNOWN) == keys_of(receipts)
    assert dingtalk.recall_calls() == 0
    assert dingtalk.status_calls() == 1


async def test_what_is_settled_for_good_is_not_asked_again(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 4)
    await dingtalk.recall(receipts[:1])
    reason = Reason("invalid.processQueryKey", "wrong", "check it")
    checkpoint = LoadOnce(
        {
            receipts[0].key: RECALLED,
            receipts[1].key: KeyResult(KeyState.FAILED, reason),
            receipts[2].key: KeyResult(KeyState.EXPIRED, reason),
            "of another recall": IN_DOUBT,
        }
    )
    before = dingtalk.recall_calls()
    job = await dingtalk.recall(receipts, checkpoint=checkpoint, fresh=False)
    assert dingtalk.recall_calls() == before + 1
    assert set(job.report().keys(Outcome.RECALLED)) == {receipts[0].key, receipts[3].key}
    assert codes_of(job.report(), Outcome.FAILED) == {receipts[1].key: "invalid.processQueryKey"}
    assert job.report().keys(Outcome.EXPIRED) == [receipts[2].key]
    assert not dingtalk.is_recalled(receipts[1])


async def test_what_failed_for_now_is_tried_again(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 60)
    checkpoint = MemoryCheckpoint()
    dingtalk.faults({"match": "recall", "nth": [1], "action": {"type": "ban"}})
    await dingtalk.recall(receipts, checkpoint=checkpoint)
    dingtalk.faults()
    job = await dingtalk.recall(receipts, checkpoint=checkpoint)
    assert job.report().counts()["recalled"] == 60


async def test_a_second_run_over_a_finished_checkpoint_costs_nothing(dingtalk: LocalDingTalk) -> None:
    receipts = dingtalk.create_messages(Kind.GROUP, 30, conversation=GROUPS[2])
    checkpoint = MemoryCheckpoint()
    await dingtalk.recall(receipts, checkpoint=checkpoint)
    before = dingtalk.calls()
    job = await dingtalk.recall(receipts, checkpoint=checkpoint, fresh=False)
    assert job.report().counts()["recalled"] == 30
    assert dingtalk.calls() == before
