"""Recalls that are killed repeatedly; the final report is compared with the sandbox's state."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from msgspec import Struct, field

from airflow_provider_dingtalk.jobs.recall import WORKERS
from airflow_provider_dingtalk.jobs.report import Outcome
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from tests.faults.crash_points import Point, marks_of
from tests.faults.kill_faults import RECALL, KillFault
from tests.faults.kill_proxy import is_behind_proxy
from tests.faults.kill_sandbox import RECALL_API, SandboxProcess
from tests.faults.kill_tries import Task, recalling_keys, wait_for

#: Messages of one recall: two rows of the checkpoint, 60 calls.
KEYS = 1200
BATCH = 20
#: One message of this many is too old from the start, so a finished recall has not recalled all of them.
OLD_ONE_IN = 10
OLD = 25 * 3600.0
#: Kills in one recall. With more, the bound of the calls would be too loose to prove anything.
KILLS_PER_RUN = 5
#: A kill counts if the share of finished work is between these.
DONE = (0.05, 0.95)
#: Maximum tries after the last kill. Each second dead token of a call ends a try, and a recall takes 5 of them usually
#: and more than 10 rarely, so only a loop reaches this.
MAX_TRIES = 100
#: Maximum tries to reach a named point.
TRIES_TO_REACH = 30
#: Maximum seconds between the start of a call and the kill.
SPREAD = 0.006

#: Named points in the order in which one recall reaches them, each at a later call.
NAMED_RUNS = (
    (Point.BEFORE_INTENT, Point.IN_POST, Point.AFTER_ANSWER, Point.SEGMENT_BOUNDARY, Point.BEFORE_XCOM),
    (Point.AFTER_INTENT, Point.AFTER_EFFECT, Point.BEFORE_COMMIT, Point.BEFORE_SUCCESS),
)
#: Error codes of the sandbox for a dead token.
DEAD_TOKEN = ("InvalidAuthentication",)
#: Codes of failures that DingTalk did not decide for the message itself; the harness clears the task then.
NO_RESULT = frozenset({"not_attempted", "InvalidAuthentication"})


class Tally(Struct, kw_only=True):
    """Sum of the results of runs.

    :param wrong: Violated assertions, as text.
    :param shares: Share of finished work at each kill that counts.
    """

    kills: int = 0
    uncounted: int = 0
    keys: int = 0
    lost: int = 0
    double: int = 0
    false_recalled: int = 0
    false_failed: int = 0
    unknown: int = 0
    resent: int = 0
    calls: int = 0
    batches: int = 0
    hits: int = 0
    looked_at: int = 0
    wrong: list[str] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    points: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add another tally."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def killed(self, share: float, where: str = "") -> None:
        """Record a kill; it counts if it came in the middle."""
        if DONE[0] <= share <= DONE[1]:
            self.kills += 1
            self.shares.append(share)
            self.points += [where] if where else []
        else:
            self.uncounted += 1

    def must(self, is_so: bool, otherwise: str) -> None:
        """Record ``otherwise`` if an assertion does not hold."""
        if not is_so:
            self.wrong.append(otherwise)


@contextmanager
def task_of(sandbox: SandboxProcess, work: Any, *, forgetful: bool = False) -> Iterator[Task]:
    """Run a task with its own store."""
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        task = Task(sandbox.url, Path(folder) / "store.sqlite", work, forgetful=forgetful)
        try:
            yield task
        finally:
            task.close()


class RecallRun:
    """One recall under one fault.

    :param keys: Number of messages; default 1,200.
    :param forgetful: Lose all intents; default False.
    :param places: Stores that fail at random: ``store``, ``xcom``; default none.
    """

    def __init__(
        self,
        sandbox: SandboxProcess,
        fault: KillFault,
        rng: Random,
        *,
        keys: int = KEYS,
        forgetful: bool = False,
        places: Sequence[str] = (),
    ) -> None:
        self._sandbox = sandbox
        self._fault = fault
        self._rng = rng
        self._forgetful = forgetful
        self._places = places
        sandbox.reset(rng, **{"unfit_keys": "per_key", "recall_window_hours": 24, **fault.switches})
        old = sandbox.create_messages(keys // OLD_ONE_IN, age_seconds=OLD)
        young = sandbox.create_messages(keys - keys // OLD_ONE_IN)
        poisoned = rng.sample(young, fault.poisoned)
        #: Keys of messages that cannot be recalled.
        self.refused = {receipt.key for receipt in old + poisoned}
        self.receipts = old + young
        rng.shuffle(self.receipts)
        sandbox.faults(*fault.rules, *_poison(poisoned))
        self._in_doubt = 0
        #: Number of tries that were superseded with calls in flight.
        self.superseded = 0
        self._reopened = 0
        self.tally = Tally(keys=keys, batches=math.ceil(keys / BATCH))

    def with_named_kills(self, points: Sequence[Point]) -> Tally:
        """Run it, and kill it at each of these points in turn, at later and later calls."""
        with self._task() as task:
            moments = iter(sorted(self._rng.uniform(0.1, 0.6) for _ in points))
            for point in points:
                at_the_end = point in (Point.SEGMENT_BOUNDARY, Point.BEFORE_XCOM, Point.BEFORE_SUCCESS)
                calls = 0 if at_the_end else self._calls_until(next(moments))
                self.tally.must(self._kill_at(task, point, calls), f"{point} was not reached")
                self._after_kill(task, point)
            return self._finish(task)

    def _kill_at(self, task: Task, point: Point, calls: int) -> bool:
        """Run tries until one is killed there; a fault may end a try earlier."""
        for _ in range(TRIES_TO_REACH):
            if task.kill_at(point, calls):
                return True
            if not self._reopen(task, task.end()):
                return False
            calls = max(1, calls - task.gauges[-1]["begun"])
        return False

    def with_random_kills(self, kills: int) -> Tally:
        """Run it, and kill it at times spread evenly over its progress."""
        with self._task() as task:
            for moment in sorted(self._rng.uniform(0.08, 0.85) for _ in range(kills)):
                if not self._kill_somewhere(task, moment):
                    break
                self._after_kill(task)
            return self._finish(task)

    def _kill_somewhere(self, task: Task, moment: float) -> bool:
        """Run tries until one is killed; a fault may end a try earlier."""
        for _ in range(TRIES_TO_REACH):
            if task.kill_somewhere(self._calls_until(moment), self._rng, SPREAD):
                return True
            if not self._reopen(task, task.end()):
                return False
        return False

    @contextmanager
    def _task(self) -> Iterator[Task]:
        work = recalling_keys(self.receipts, f"{self._rng.random()}", self._places)
        with task_of(self._sandbox, work, forgetful=self._forgetful) as task:
            yield task

    def _calls_until(self, share: float) -> int:
        """Return the calls that one try needs to reach this share without faults."""
        # After the recall window nothing more is recalled, so the share does not measure the progress.
        is_closed = self._fault.jump and self.tally.shares
        todo = 0.1 if is_closed else share - self._share()
        return max(1, int(todo * self.tally.batches) + WORKERS // 2)

    def _share(self) -> float:
        return self._sandbox.share("group", "recalled", self.tally.keys)

    def _after_kill(self, task: Task, where: str = "") -> None:
        self.tally.killed(self._share(), where)
        self._count_calls_in_doubt(task)
        if self._fault.jump:
            self._sandbox.tell("POST", "/clock", {"advance": self._fault.jump})

    def _count_calls_in_doubt(self, task: Task) -> None:
        """Add the calls in doubt in the checkpoint, which the next try makes again."""
        rows = (marks_of(value) for value in task.seen.state().values())
        self._in_doubt += math.ceil(sum(row.count("I") for row in rows if row) / BATCH)

    def _finish(self, task: Task) -> Tally:
        end = self._run_to_the_end(task)
        self._account(end["settled"], task.seen.xcom("report"))
        self._bill(task)
        return self.tally

    def _run_to_the_end(self, task: Task) -> dict[str, Any]:
        """Run tries until the task succeeds or fails permanently; clear it if calls were not attempted."""
        end: dict[str, Any] = {"state": "never"}
        for _ in range(MAX_TRIES):
            end = task.run()
            if not self._reopen(task, end):
                return end
        self.tally.must(False, f"no end after {MAX_TRIES} tries: {end['state']}")
        return end

    def _reopen(self, task: Task, end: Mapping[str, Any]) -> bool:
        """Return True if the task has another try, by a retry or by a clear."""
        codes = {code for outcome, code in end["settled"].values() if outcome == Outcome.FAILED}
        if end["state"] == "success" or (end["state"] == "failed" and not codes & NO_RESULT):
            return False
        kept = sum(outcome != Outcome.RECALLED for outcome, _ in end["settled"].values())
        self._reopened += math.ceil(kept / BATCH)
        # A store that fails ends a try with calls in flight, as a kill does.
        self._count_calls_in_doubt(task)
        if end["state"] == "failed":
            task.clear()
        return True

    def _account(self, settled: Mapping[str, Sequence[str]], pushed: Mapping[str, Any]) -> None:
        """Check that every message has exactly one outcome, and that the sandbox agrees."""
        tally, keys = self.tally, {receipt.key for receipt in self.receipts}
        gone = {one["key"] for one in self._sandbox.messages() if one["recalled_at"] is not None}
        by_class = {name.value: {key for key, (one, _) in settled.items() if one == name} for name in Outcome}
        kept = by_class[Outcome.FAILED] | by_class[Outcome.EXPIRED]
        tally.lost += len(keys ^ set(settled))
        tally.false_recalled += len(by_class[Outcome.RECALLED] - gone)
        tally.false_failed += len(kept & gone)
        tally.unknown += len(by_class[Outcome.UNKNOWN])
        counts = {name: pushed["counts"][name] for name in by_class}
        tally.must(counts == {name: len(found) for name, found in by_class.items()}, "the XCom says otherwise")
        if not self._fault.jump:
            tally.must(gone == keys - self.refused, f"{len(keys - self.refused - gone)} are left that could go")

    def _bill(self, task: Task) -> None:
        """Check the calls: one per batch, those in flight at a kill again, and those that faults hit.

        A try recalls again what it finds in doubt; these calls are counted separately, with their own bound.
        """
        tally = self.tally
        fired, seen = self._sandbox.hits()
        if self._fault.poisoned:
            # Poison rules match every call, so the calls with poisoned keys are those of the bisects.
            fired = self._fault.poisoned * len(task.gauges)
        in_the_air = WORKERS * (tally.kills + tally.uncounted + self.superseded)
        again = fired + task.spent("throttled") + self._sandbox.answers(DEAD_TOKEN) + self._reopened
        # Each call that the proxy cuts is made again, and the sandbox sees none of them.
        again += tally.batches // 4 if is_behind_proxy() else 0
        calls = task.spent("recall")
        limit = tally.batches + in_the_air + again
        tally.must(calls <= limit, f"{calls} calls to recall, of at most {limit}")
        # A tighter bound: messages in doubt in the checkpoint at the end of each try. A call hit by a fault costs
        # another one.
        every, limit = task.spent("recall", "again"), tally.batches + self._in_doubt + again + fired
        tally.must(every <= limit, f"{every} calls to recall, those again included, of at most {limit}")
        arrived, sent = self._sandbox.calls(RECALL_API[Kind.GROUP]), task.spent("recall", "again", "bisect")
        tally.must(abs(arrived - sent) <= in_the_air, f"{sent} calls were made and {arrived} arrived")
        tally.calls += calls
        tally.hits += fired
        tally.looked_at += seen


def _poison(poisoned: Sequence[Receipt]) -> list[dict[str, Any]]:
    keys = [receipt.key for receipt in poisoned]
    return [{"match": RECALL, "action": {"type": "poison_keys", "keys": keys}}] if keys else []


def recall_twice_at_once(sandbox: SandboxProcess, rng: Random, *, keys: int = KEYS) -> Tally:
    """Start a second try while the first lives; the first must be superseded."""
    slow = {"match": RECALL, "action": {"type": "delay", "seconds": 0.5}}
    run = RecallRun(sandbox, KillFault(name="two at once", rules=(slow,)), rng, keys=keys)
    with run._task() as task:
        run.superseded = 1
        loser = task.begin_and_reach(run.tally.batches // 3)
        gauge = task.gauges[-1]
        winner = task.begin()
        wait_for(loser)
        wait_for(winner)
        after_fence = gauge["begun"] - gauge["at_fence"]
        run.tally.must(task.end(back=2)["code"] == "superseded", f"the loser ended with {task.end(back=2)['code']!r}")
        run.tally.must(after_fence <= WORKERS, f"the loser began {after_fence} calls after it was fenced off")
        run.tally.resent += after_fence
        return run._finish(task)
