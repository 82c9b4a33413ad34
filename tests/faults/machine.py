"""State machine of one recall task with faults, crashes, retries, clock jumps and overlapping tries."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from airflow_provider_dingtalk.exceptions import CheckpointError
from airflow_provider_dingtalk.jobs.recall import WORKERS, Recall
from airflow_provider_dingtalk.jobs.recall_results import KeyResult, KeyState
from airflow_provider_dingtalk.jobs.report import Outcome, Report
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from airflow_provider_dingtalk.task.checkpoint.recall import RecallTaskCheckpoint
from airflow_provider_dingtalk.task.checkpoint.store import Store
from tests.faults.file_store import SupersededError
from tests.jobs.test_recall_at_random import BLIND, DEAD_TOKEN, HONEST
from tests.support.local_dingtalk import (
    HOUR,
    RECALL_API,
    LocalDingTalk,
    check_account,
    check_calls,
)

T = TypeVar("T")

#: Kinds whose status can be polled at any age.
ALWAYS_ASKABLE = (Kind.GROUP, Kind.PRIVATE_CHAT)
#: Reasons under which recall calls are counted.
RECALLS = ("recall", "again", "bisect")

COUNTS = st.fixed_dictionaries(
    {
        Kind.GROUP: st.integers(0, 250),
        Kind.OTO: st.integers(0, 90),
        Kind.PRIVATE_CHAT: st.integers(0, 45),
        Kind.WORK_NOTIFICATION: st.integers(0, 3),
        Kind.DING: st.integers(0, 3),
    }
)
WHERE = st.sampled_from(["", "ecall", "query", *RECALL_API.values()])
WHICH = st.one_of(
    st.fixed_dictionaries({"nth": st.lists(st.integers(1, 12), min_size=1, max_size=4)}),
    st.fixed_dictionaries({"every": st.integers(2, 4)}),
    st.fixed_dictionaries({"probability": st.sampled_from([0.1, 0.4])}),
)
FAULTS = st.one_of(
    st.fixed_dictionaries({"action": st.sampled_from(BLIND), "when": st.sampled_from(["before", "after"])}),
    st.fixed_dictionaries({"action": st.sampled_from(HONEST)}),
)
SWITCHES = st.fixed_dictionaries(
    {
        "already_recalled": st.sampled_from(["success", "failed", "not_revoke_all"]),
        "unfit_keys": st.sampled_from(["whole_batch", "per_key"]),
        "recall_window_hours": st.sampled_from([None, 24]),
    }
)
#: Age of the messages at the start in seconds, so they are in the past even if the clock jumps back.
AGE = 5 * HOUR
#: Seconds, more than the recall window.
DAY = 25 * HOUR
#: Number of iterations of the event loop before an interruption.
TURNS = st.integers(1, 400)


class Inline(ThreadPoolExecutor):
    """Executor that runs work at once in the same thread, so the order of steps is deterministic."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run the function and return a finished future."""
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:
            done.set_exception(error)
        return done


class SharedStore:
    """Task state store in memory; only the newest try can write."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.newest = 0

    def begin_try(self) -> TryStore:
        """Begin a new try; earlier tries can no longer write."""
        self.newest += 1
        return TryStore(self, self.newest)


class TryStore:
    """View of the store for one try."""

    def __init__(self, shared: SharedStore, number: int) -> None:
        self._shared = shared
        self._number = number

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key."""
        return self._shared.values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        """Store a value.

        :raises SupersededError: If a newer try has begun.
        """
        if self._shared.newest != self._number:
            raise SupersededError(str(self._number))
        self._shared.values[key] = value


class Recalls(RuleBasedStateMachine):
    """State machine of one task that recalls."""

    @staticmethod
    def wrap(store: Store) -> Store:
        """Return the store that a try uses; default unchanged."""
        return store

    @initialize(counts=COUNTS, switches=SWITCHES, seed=st.integers(0, 3))
    def begin(self, counts: Mapping[Kind, int], switches: Mapping[str, Any], seed: int) -> None:
        """Create messages of all kinds."""
        self.local = LocalDingTalk(seed=seed)
        self.local.behave(calls_per_second=0, **switches)
        self.receipts: list[Receipt] = []
        for kind, count in counts.items():
            self.receipts += self.local.create_messages(kind, count, age=AGE, dated=kind is not Kind.OTO)
        self.store = SharedStore()
        self.clear_count = 0

    # ── events ──

    @rule(where=WHERE, which=WHICH, fault=FAULTS)
    def a_fault(self, where: str, which: Mapping[str, Any], fault: Mapping[str, Any]) -> None:
        """Add a fault rule."""
        self.local.state.faults.add({"match": where, **which, **fault})

    @rule()
    def all_is_well(self) -> None:
        """Remove all faults."""
        self.local.faults()

    @rule(seconds=st.sampled_from([-600.0, 60.0, HOUR, 23 * HOUR, DAY]))
    def time_passes(self, seconds: float) -> None:
        """Move the clock forwards or backwards."""
        self.local.clock.advance(seconds)

    @rule()
    def a_clear(self) -> None:
        """Clear the task."""
        self.clear_count += 1

    @rule(turns=TURNS)
    def a_crash(self, turns: int) -> None:
        """Kill a try; what it was about to write is lost."""
        job = self._job()

        async def die() -> None:
            task = asyncio.ensure_future(job.run(self.local.client()))
            await _turn(turns, task)
            self.store.begin_try()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        _run(die())
        # Its report may still be read, so it must be true.
        check_account(self.local, job.report(), self.named)

    @rule()
    def a_whole_try(self) -> None:
        """Run a try without interruption."""
        self._whole_try()

    def _whole_try(self) -> Report:
        open_before = self._open()
        settled = {key: self._recalls_of(key) for key in self._keys() - open_before}
        calls, dead = self.local.calls(), self._dead_tokens()
        report = _run(self._job().run(self.local.client()))
        check_account(self.local, report, self.named)
        check_calls(report, self.local.calls() - calls)
        limit = self._batches(open_before) + report.api_calls.get("throttled", 0) + self._dead_tokens() - dead
        assert report.api_calls.get("recall", 0) <= limit, "a call for each batch that was open, and no more"
        again = {key for key, number in settled.items() if self._recalls_of(key) != number}
        assert not again, "what was settled was recalled once more"
        return report

    @precondition(lambda self: self.receipts)
    @rule(turns=TURNS)
    def a_second_try_at_once(self, turns: int) -> None:
        """Begin a try while another one lives; the older one must begin no more calls."""
        loser, report, after_fence = _run(self._both(turns))
        assert isinstance(loser, CheckpointError | Report)
        assert after_fence <= WORKERS, "the loser began calls after it was fenced off"
        check_account(self.local, report, self.named)

    async def _both(self, turns: int) -> tuple[Any, Report, int]:
        """Return the older try's result, the newer try's report, and the calls the older try began late."""
        first = self._job()
        loser = asyncio.ensure_future(first.run(self.local.client()))
        await _turn(turns, loser)
        second = self._job()
        begun = _recalls(first)
        ends = await asyncio.gather(loser, second.run(self.local.client()), return_exceptions=True)
        if isinstance(ends[1], BaseException):
            raise ends[1]
        return ends[0], ends[1], _recalls(first) - begun

    def teardown(self) -> None:
        """Remove all faults and check that two more tries settle all that can be settled."""
        if not hasattr(self, "store"):
            return
        self.local.faults()
        self._whole_try()
        report = self._whole_try()
        unknown = set(report.keys(Outcome.UNKNOWN))
        left = [one.key for one in self.receipts if one.key in unknown and one.kind in ALWAYS_ASKABLE]
        assert not left, "what can be asked is not unknown"

    # ── helpers ──

    def _job(self) -> Recall:
        store = self._begin_try()
        self.named = self._named_anew(self.store.newest)
        checkpoint = RecallTaskCheckpoint(store, self.named, self.clear_count)
        return Recall(self.named, checkpoint=checkpoint, clock=self.local.clock)

    def _named_anew(self, number: int) -> list[Receipt]:
        """Return the messages in another order for each try, some of them twice."""
        rng = random.Random(number)
        named = self.receipts + rng.sample(self.receipts, min(len(self.receipts), number % 3))
        rng.shuffle(named)
        return named

    def _begin_try(self) -> Store:
        return self.wrap(self.store.begin_try())

    def _keys(self) -> set[str]:
        return {receipt.key for receipt in self.receipts}

    def _open(self) -> set[str]:
        """Return the messages that are open in the checkpoint as the next try reads it."""
        looking = RecallTaskCheckpoint(self._begin_try(), self.receipts, self.clear_count)
        key_results: Mapping[str, KeyResult] = _run(looking.load())
        done = {
            key
            for key, key_result in key_results.items()
            if key_result.final and key_result.state is not KeyState.IN_DOUBT
        }
        return self._keys() - done

    def _batches(self, keys: set[str]) -> int:
        by_sender = Counter(receipt.sender_key for receipt in self.receipts if receipt.key in keys)
        return sum(
            math.ceil(number / message_type(sender_key.kind).batch_size) for sender_key, number in by_sender.items()
        )

    def _recalls_of(self, key: str) -> int:
        message = self.local.state.messages.get(key) or self.local.state.messages[int(key)]
        return message.recalls

    def _dead_tokens(self) -> int:
        return sum(entry.code in DEAD_TOKEN for entry in self.local.state.journal.entries)


def _recalls(job: Recall) -> int:
    return sum(job.report().api_calls.get(why, 0) for why in RECALLS)


def _run(work: Coroutine[Any, Any, T]) -> T:
    async def inline() -> T:
        executor = Inline(max_workers=1)
        asyncio.get_running_loop().set_default_executor(executor)
        return await work

    return asyncio.run(inline())


async def _turn(turns: int, task: Awaitable[Any]) -> None:
    """Run ``turns`` iterations of the event loop, or until the task is done."""
    future = asyncio.ensure_future(task)
    for _ in range(turns):
        if future.done():
            return
        await asyncio.sleep(0)
