"""Rows about the checkpoint: failing, corrupt or foreign stores, timeouts and signals."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from airflow_provider_dingtalk.connection import event_loop
from airflow_provider_dingtalk.exceptions import CheckpointError
from airflow_provider_dingtalk.jobs.batching import batches, unique
from airflow_provider_dingtalk.jobs.recall import WORKERS, Recall
from airflow_provider_dingtalk.jobs.recall_results import RECALLED
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from airflow_provider_dingtalk.sandbox.testing import running_sandbox
from airflow_provider_dingtalk.task.checkpoint.recall import (
    MESSAGES_PER_ROW,
    RecallTaskCheckpoint,
    in_canonical_order,
)
from airflow_provider_dingtalk.task.checkpoint.store import Store
from airflow_provider_dingtalk.version_compat import AirflowTaskTimeout
from tests.faults.checks import NEVER, Happened, classes
from tests.faults.crash_points import marks_of
from tests.faults.fixtures import CanarySandbox
from tests.faults.matrix import RowRun
from tests.faults.scheme import MIXED, Case
from tests.faults.token_rows import nothing_to_mask, settings_to
from tests.support.airflow_seams import TaskStateStore
from tests.support.local_dingtalk import check_account

#: Number of store operations that fail, at random times.
FAILURES = 12
#: Number of timeouts at random times.
TIMEOUTS = 40
#: Number of SIGTERMs inside writes.
SIGTERMS = 20
#: Number of the last write of a try that may get the SIGTERM.
LAST_WRITE = 12
#: Maximum calls in flight in that row; few, so there are enough writes for all SIGTERMs.
FEW_WORKERS = 5
#: Maximum number of recalls under timers.
MOST_ROUNDS = 30


class SupersededError(Exception):
    """Error of a superseded try; Airflow's store answers HTTP 404."""


class FailingStore(TaskStateStore):
    """Store that fails from an operation on.

    :param error: Factory of the error.
    :param breaks_at: Number of the first failing operation, from 1.
    """

    def __init__(self, error: Callable[[], Exception], breaks_at: int) -> None:
        super().__init__()
        self._error = error
        self._breaks_at = breaks_at
        self.operations = 0

    def get(self, key: str, default: Any = None) -> Any:
        self._count()
        return super().get(key, default)

    def set(self, key: str, value: Any) -> None:
        self._count()
        super().set(key, value)

    def mend(self) -> None:
        self._breaks_at = 10**9

    def _count(self) -> None:
        self.operations += 1
        if self.operations >= self._breaks_at:
            raise self._error()


ERRORS: dict[str, Callable[[], Exception]] = {
    "404": lambda: SupersededError("404 Task instance not found"),
    "503": lambda: RuntimeError("API_SERVER_ERROR 503"),
    "timeout": lambda: TimeoutError("timed out"),
    "connection": lambda: ConnectionResetError(104, "reset by peer"),
}


def checkpoint_of(store: Store, receipts: Sequence[Receipt]) -> RecallTaskCheckpoint:
    """Return the shipped checkpoint as the operators make it."""
    return RecallTaskCheckpoint(store, receipts, clear_count=0)


def a_checkpoint_that_fails_stops_the_recall(run: RowRun) -> None:
    """Make the store fail; expect no call without an intent, and an exact next try."""
    rng, keys = run.rng, max(400, run.keys // FAILURES)
    # Operations may be combined, so there may be fewer of them; the last third is left out.
    last = max(5, 2 * _operations_of(run, keys) // 3)
    moments = [1, 2, 3, *(rng.randrange(4, last) for _ in range(FAILURES - 3))]
    for number, moment in enumerate(moments):
        name = list(ERRORS)[number % len(ERRORS)]
        sandbox = run.sandbox()
        receipts = sandbox.plant_mixture(dict(MIXED), keys)
        store = FailingStore(ERRORS[name], moment)
        job = Recall(receipts, checkpoint=checkpoint_of(store, receipts), clock=sandbox.clock)
        error = _failure_of(job, sandbox)
        assert not error.permanent, "a store that is away comes back"
        run.sinks.add_error(error)
        run.sinks.add("checkpoints", *store._values.values())
        _nothing_went_out_unwritten(sandbox, store, receipts)
        check_account(sandbox, job.report(), receipts)
        _goes_on(run, sandbox, store, receipts)
        run.figures.fired += 1
        run.figures.keys += keys
        run.done(sandbox)


def _operations_of(run: RowRun, keys: int) -> int:
    """Return the number of store operations of a recall without failures."""
    sandbox = run.sandbox()
    receipts = sandbox.plant_mixture(dict(MIXED), keys)
    store = FailingStore(ERRORS["404"], 10**9)
    asyncio.run(Recall(receipts, checkpoint=checkpoint_of(store, receipts), clock=sandbox.clock).run(sandbox.open()))
    return store.operations


def _failure_of(job: Recall, sandbox: CanarySandbox) -> CheckpointError:
    try:
        asyncio.run(job.run(sandbox.open()))
    except CheckpointError as error:
        return error
    raise AssertionError("a recall went on without its checkpoint")


def _nothing_went_out_unwritten(sandbox: CanarySandbox, store: TaskStateStore, receipts: Sequence[Receipt]) -> None:
    written = _states(store, receipts)
    for receipt in receipts:
        if sandbox.is_recalled(receipt):
            assert written[receipt.key] in "IR", f"{receipt.key} went out and is written down as {written[receipt.key]}"


def _states(store: TaskStateStore, receipts: Sequence[Receipt]) -> dict[str, str]:
    """Return the state character of each message in the store."""
    values = {key: json.loads(value) for key, value in store._values.items()}
    keys = [receipt.key for receipt in in_canonical_order(receipts)]
    rows = {int(key.rsplit("-", 1)[1]): value["row"] for key, value in values.items() if "row" in value}
    return {
        key: rows[at // MESSAGES_PER_ROW][at % MESSAGES_PER_ROW] if at // MESSAGES_PER_ROW in rows else "P"
        for at, key in enumerate(keys)
    }


def _goes_on(run: RowRun, sandbox: CanarySandbox, store: FailingStore, receipts: Sequence[Receipt]) -> None:
    store.mend()
    job = Recall(receipts, checkpoint=checkpoint_of(store, receipts), clock=sandbox.clock)
    report = asyncio.run(job.run(sandbox.open()))
    check_account(sandbox, report, receipts)
    assert report.counts()["recalled"] == len(receipts)
    planned = len(batches(unique(receipts).values()))
    groups = len({receipt.sender_key for receipt in receipts})
    most = planned + WORKERS + groups
    assert sandbox.recall_calls() <= most, f"{sandbox.recall_calls()} recalls, at most {most}"


def a_corrupt_checkpoint_leaves_every_message_in_doubt(run: RowRun) -> None:
    """Store foreign values; expect one warning, nothing read from them, and a true report."""
    sound = {"epoch": 0, "row": "R" * 40, "why": {}, "reasons": []}
    corrupt: list[Any] = [
        7,
        "R" * 40,
        [1],
        {},
        {**sound, "epoch": "0"},
        {**sound, "row": "R" * 39},
        {**sound, "row": "R" * 41},
        {**sound, "row": "Q" * 40},
        {**sound, "row": 40},
        {**sound, "row": "F" * 40, "why": {"0": 0}},
        {**sound, "row": "F" * 40, "why": {"0": -1}},
        {**sound, "row": "F" * 40, "why": {"0": 2**62}},
        {**sound, "row": "F" * 40, "why": {"x": 0}},
        {**sound, "row": "F" * 40, "why": {"40": 0}, "reasons": [{"code": "", "message": "", "next_step": ""}]},
        {**sound, "row": "F" * 40, "why": []},
        {**sound, "row": "F" * 40, "reason_of": "!" * 40},
        {**sound, "row": "F" * 40, "reason_of": "!" * 39, "reasons": [{"code": "", "message": "", "next_step": ""}]},
        {**sound, "row": "F" * 40, "reason_of": 7},
        {**sound, "reasons": 7},
        {**sound, "reasons": [{"code": 1}]},
    ]
    for value in corrupt:
        sandbox, store = run.sandbox(), TaskStateStore()
        sandbox.behave(already_recalled="failed")
        receipts = sandbox.create_messages(Kind.OTO, 40)
        gone = Recall(receipts[:20], clock=sandbox.clock)
        asyncio.run(gone.run(sandbox.open()))
        checkpoint = checkpoint_of(store, receipts)
        asyncio.run(checkpoint.write({receipts[0].key: RECALLED}))
        (row,) = (key for key in store._values if "begun" not in key)
        store.set(row, value)
        report = asyncio.run(
            Recall(receipts, checkpoint=checkpoint_of(store, receipts), clock=sandbox.clock).run(sandbox.open())
        )
        check_account(sandbox, report, receipts)
        assert report.counts()["recalled"] == 40, value
        run.figures.fired += 1
        run.done(sandbox)


def another_list_inherits_only_what_is_recalled(run: RowRun) -> None:
    """Recall other lists with the same store; expect calls for the messages that no earlier list recalled, only."""
    sandbox, store = run.sandbox(), TaskStateStore()
    first = sandbox.create_messages(Kind.OTO, 60)
    asyncio.run(Recall(first, checkpoint=checkpoint_of(store, first), clock=sandbox.clock).run(sandbox.open()))
    others = sandbox.create_messages(Kind.OTO, 60)
    more = sandbox.create_messages(Kind.OTO, 20)
    for receipts, calls in ((others, 3), (others + first[:1], 0), (others[:-1], 0), (others + more, 1)):
        job = Recall(receipts, checkpoint=checkpoint_of(store, receipts), clock=sandbox.clock)
        before = sandbox.recall_calls()
        report = asyncio.run(job.run(sandbox.open()))
        check_account(sandbox, report, receipts)
        assert report.counts()["recalled"] == len(receipts)
        assert sandbox.recall_calls() - before == calls
    run.done(sandbox)


# ── timeouts ─────────────────────────────────────────────────────────────────────────────────────────


def a_timeout_at_any_moment_loses_nothing(run: RowRun) -> None:
    """Raise ``AirflowTaskTimeout`` from a signal at random times of recalls in the main thread."""
    assert threading.current_thread() is threading.main_thread(), "signals go to the main thread"
    fired, midway = 0, 0
    before = signal.signal(signal.SIGALRM, _raise_timeout)
    try:
        for number in range(MOST_ROUNDS):
            work = _until_done(run, f"{run.seed} {number}")
            fired, midway = fired + work.fired, midway + work.midway
            if fired >= TIMEOUTS:
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    run.figures.fired += fired
    run.note(f"{fired} timeouts, {midway} of them with 5-95 % recalled")
    assert fired >= TIMEOUTS, f"only {fired} timeouts came in time"
    assert midway, "no timeout came in the middle"


def _until_done(run: RowRun, seed: str) -> _Recalling:
    """Repeat a recall under timers until it is done."""
    sandbox = run.sandbox()
    receipts = sandbox.create_messages(Kind.GROUP, max(4000, run.keys // 2))
    with running_sandbox(sandbox.state) as server:
        work, rng = _Recalling(run, sandbox, settings_to(sandbox, server.url), receipts), random.Random(seed)
        while not work.finished and work.fired < 3 * TIMEOUTS:
            work.under_a_timer(rng.uniform(0.001, 0.12))
    assert work.finished, f"not done after {work.fired} timeouts"
    most = len(batches(receipts)) + (WORKERS + 1) * work.fired
    assert sandbox.recall_calls() <= most, f"{sandbox.recall_calls()} recalls, at most {most}"
    run.figures.keys += len(receipts)
    run.done(sandbox)
    return work


def _raise_timeout(number: int, frame: Any) -> None:
    raise AirflowTaskTimeout("Timeout")


class _Recalling:
    """Recall that is repeated with one store.

    :ivar fired: Number of tries that a timer ended.
    :ivar midway: Number of those that had recalled a part of the messages.
    """

    def __init__(self, run: RowRun, sandbox: CanarySandbox, settings: Any, receipts: list[Receipt]) -> None:
        self._run, self._stage, self._settings, self._receipts = run, sandbox, settings, receipts
        self._store = TaskStateStore()
        self.finished = False
        self.fired = self.midway = 0

    def under_a_timer(self, seconds: float) -> None:
        """Run one try under a timer."""
        job = Recall(self._receipts, checkpoint=checkpoint_of(self._store, self._receipts))

        async def work() -> Any:
            return await job.run(event_loop.client_for(self._settings, nothing_to_mask))

        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            event_loop.run(work, job.stop)
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.finished = True
        except AirflowTaskTimeout as timeout:
            self.fired += 1
            share = self._stage.state.recalled["group"] / len(self._receipts)
            self.midway += 0.05 <= share <= 0.95
            self._run.sinks.add_error(timeout)
        self._check(job)

    def _check(self, job: Recall) -> None:
        """Check the report after each try."""
        report = job.report()
        account = classes(Happened(self._stage, Case(), self._receipts), report)
        figures = self._run.figures
        for name in NEVER:
            setattr(figures, name, getattr(figures, name) + getattr(account, name))
            assert not getattr(account, name), f"{name}: {getattr(account, name)}"
        if self.finished:
            assert report.counts()["recalled"] == len(self._receipts), report.counts()


# ── 33 ───────────────────────────────────────────────────────────────────────────────────────────────


class TerminatedStore(TaskStateStore):
    """Store whose write gets a SIGTERM, before or after the value is stored."""

    def __init__(self) -> None:
        super().__init__()
        self._left = -1
        self._is_early = False
        self.hit_at = 0.0

    def hit(self, write: int, *, early: bool) -> None:
        """Set the write that gets a SIGTERM, counted from now; 0 for none."""
        self._left, self._is_early, self.hit_at = write, early, 0.0

    def set(self, key: str, value: Any) -> None:
        # The keys are written once, before all rows.
        self._left -= "begun" not in key
        is_hit = self._left == 0 and "begun" not in key
        if is_hit and self._is_early:
            self._kill()
        super().set(key, value)
        if is_hit and not self._is_early:
            self._kill()

    def in_doubt(self) -> int:
        """Return the number of messages in flight in the checkpoint."""
        rows = (marks_of(json.loads(value)) for value in self._values.values())
        return sum(row.count("I") for row in rows if row)

    def _kill(self) -> None:
        self.hit_at = time.monotonic()
        os.kill(os.getpid(), signal.SIGTERM)


def a_sigterm_inside_a_write_leaves_nothing_in_doubt(run: RowRun) -> None:
    """Send SIGTERM inside writes; Airflow's task runner calls ``on_kill``, which only sets a flag."""
    sandbox, rng, store = run.sandbox(), random.Random(run.seed), TerminatedStore()
    receipts = sandbox.create_messages(Kind.GROUP, run.keys)
    calls = len(batches(receipts))
    due, last = min(SIGTERMS, calls // 20 + 1), min(LAST_WRITE, calls // 8 + 1)
    fired, slowest = 0, 0.0
    with running_sandbox(sandbox.state) as server:
        settings = settings_to(sandbox, server.url)
        recalled = 0
        while recalled < len(receipts):
            # A write may cover many calls, so a late SIGTERM would leave too few writes for the others.
            writes = calls * (len(receipts) - recalled) // len(receipts) // FEW_WORKERS
            write = rng.randint(1, max(1, min(last, writes // (due - fired)))) if fired < due else 0
            store.hit(write, early=fired % 2 == 0)
            report = _recall_under_sigterm(store, settings, receipts).report()
            recalled = report.counts()["recalled"]
            if store.hit_at:
                fired, slowest = fired + 1, max(slowest, time.monotonic() - store.hit_at)
            assert store.in_doubt() == 0, f"{store.in_doubt()} messages in doubt after a clean stop"
    run.note(f"{fired} SIGTERMs, the slowest stop took {slowest * 1000:.0f} ms")
    assert fired == due, f"only {fired} SIGTERMs came in time"
    # Calls in flight were answered and written, so no call is made twice.
    assert sandbox.recall_calls() == calls, f"{sandbox.recall_calls()} recalls"
    run.figures.fired += fired
    run.figures.keys += len(receipts)
    run.done(sandbox)


def _recall_under_sigterm(store: TerminatedStore, settings: Any, receipts: list[Receipt]) -> Recall:
    job = Recall(receipts, checkpoint=checkpoint_of(store, receipts), workers=FEW_WORKERS)

    async def work() -> Any:
        return await job.run(event_loop.client_for(settings, nothing_to_mask))

    before = signal.signal(signal.SIGTERM, lambda *_: job.stop())
    try:
        event_loop.run(work, job.stop)
    finally:
        signal.signal(signal.SIGTERM, before)
    return job
