"""Tries of one task: forked children that run the shipped core as an operator does, until killed.

The parent has everything imported and no threads, so a fork is cheap and safe.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from airflow_provider_dingtalk.client.auth import InternalApp
from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
from airflow_provider_dingtalk.client.transport import transport_for
from airflow_provider_dingtalk.connection import event_loop
from airflow_provider_dingtalk.exceptions import DingTalkError
from airflow_provider_dingtalk.jobs.recall_by_connection import RecallByConnection
from airflow_provider_dingtalk.jobs.report import Outcome
from airflow_provider_dingtalk.messages.receipt import Receipt
from airflow_provider_dingtalk.messages.send_request import SendRequest
from airflow_provider_dingtalk.sandbox.default import CLIENT_ID, CLIENT_SECRET
from airflow_provider_dingtalk.task.arguments import receipts_of_keys
from airflow_provider_dingtalk.task.checkpoint.recall import RecallTaskCheckpoint
from airflow_provider_dingtalk.task.checkpoint.store import Store
from airflow_provider_dingtalk.task.errors import DeferRequested
from airflow_provider_dingtalk.task.recall import clear_count_of, run_recall
from airflow_provider_dingtalk.task.send import SendPolicy, SendTask
from tests.faults.crash_points import (
    ForgetfulStore,
    Gauge,
    HastyClock,
    Killer,
    Point,
    WatchedStore,
    WatchedTask,
    WatchedTransport,
)
from tests.faults.file_store import FileStore
from tests.faults.kill_proxy import hosts_behind_proxy
from tests.faults.unreliable import API_SERVER_ERROR, UnreliableStore, UnreliableXComs

T = TypeVar("T")

FAIL_ON = frozenset({Outcome.FAILED.value, Outcome.EXPIRED.value, Outcome.UNKNOWN.value})
#: Messages in a row of the checkpoint; fewer than usual, so there are more boundaries.
PER_ROW = 1000
#: Timeout of one try in seconds.
TIMEOUT = 60.0
#: Seconds between two polls of a try.
GLANCE = 0.0005


class Surroundings:
    """Environment of one try: its context, and its client of DingTalk.

    :param clear_count: Clear count of the task.
    :param forgetful: Lose all intents; default False.
    """

    def __init__(
        self, url: str, files: FileStore, killer: Killer, gauge: Gauge, *, clear_count: int, forgetful: bool = False
    ) -> None:
        self._url = url
        self._killer = killer
        self._gauge = gauge
        kept: Store = ForgetfulStore(files) if forgetful else files
        self.store = WatchedStore(kept, killer)
        self.task = WatchedTask(files.xcom_push, killer, files.number, clear_count, files.xcom)
        self.clock = HastyClock()
        self.limiter = RateLimiter(0)
        self.bill: Callable[[], Mapping[str, int]] = dict

    @property
    def context(self) -> Any:
        """Context that Airflow gives to a task."""
        return {"ti": self.task, "task_state_store": self.store}

    def run(self, work: Callable[[DingTalkClient], Awaitable[T]], stop: Callable[[], None] | None = None) -> T:
        """Run async work with a client, as the hook does."""

        async def with_client() -> T:
            return await work(self._client())

        return event_loop.run(with_client, stop)

    def run_by_connection(self, work: Any, conn_ids: Iterable[str | None], stop: Callable[[], None]) -> Any:
        """Run async work with one client for all connections."""

        async def with_client(client: DingTalkClient) -> Any:
            async def client_of(_conn_id: str | None) -> DingTalkClient:
                return client

            return await work(client_of)

        return self.run(with_client, stop)

    def _client(self) -> DingTalkClient:
        hosts = hosts_behind_proxy(self._url)
        transport = WatchedTransport(transport_for(hosts.api), self._killer, self._gauge, self.bill)
        return DingTalkClient(
            InternalApp(client_id=CLIENT_ID, client_secret=CLIENT_SECRET),
            hosts,
            limiter=self.limiter,
            transport=transport,
            clock=self.clock,
        )


Work = Callable[[Surroundings], Mapping[str, Any]]


def recalling(receipts: Sequence[Receipt]) -> Work:
    """Return the work of a task that recalls; its result has the outcome of each message."""

    def work(around: Surroundings) -> Mapping[str, Any]:
        checkpoint = RecallTaskCheckpoint(around.store, receipts, clear_count_of(around.context), per_row=PER_ROW)
        job = RecallByConnection(receipts, default="", checkpoint=checkpoint, clock=around.clock)
        around.bill = lambda: next(iter(job._jobs.values()))._used
        how = _ended(
            lambda: run_recall(around, job, around.context, on_empty="succeed", fail_on=FAIL_ON)  # type: ignore[arg-type]
        )
        settled = {
            key: [one.outcome.value, one.reason.code if one.reason else ""] for key, one in job.report().results.items()
        }
        return {**how, "settled": settled}

    return work


#: Types in which keys are passed.
CONTAINERS: tuple[Callable[[list[str]], Any], ...] = (list, tuple, set, frozenset, json.dumps)


def recalling_keys(receipts: Sequence[Receipt], seed: str, places: Collection[str] = ()) -> Work:
    """Return the work of a task that recalls messages of one chat by their keys.

    Each try gets them in another order and container, some of them repeatedly.

    :param places: Stores that fail at random: ``store``, ``xcom``; default none.
    """
    keys, first = [receipt.key for receipt in receipts], receipts[0]
    sender = {"robot_code": first.robot_code, "open_conversation_id": first.open_conversation_id}

    def work(around: Surroundings) -> Mapping[str, Any]:
        rng = Random(f"{seed}/{around.task.try_number}")
        named = keys + rng.sample(keys, rng.randrange(len(keys) // 4))
        rng.shuffle(named)
        if "store" in places:
            around.store = UnreliableStore(around.store, rng)  # type: ignore[assignment]
        if "xcom" in places:
            around.task.push_by(lambda push: UnreliableXComs(push, rng))
        given = receipts_of_keys(first.kind, rng.choice(CONTAINERS)(named), "process_query_keys", sender)
        return recalling(given)(around)

    return work


class FewInFlight(RateLimiter):
    """Rate limiter that limits only the calls in flight."""

    def __init__(self, in_flight: int) -> None:
        super().__init__(0)
        self._in_flight = in_flight

    @property
    def in_flight(self) -> int:
        """Maximum number of calls in flight."""
        return self._in_flight


def sending(send_requests: Sequence[SendRequest], in_doubt: int = 2, **policy: Any) -> Work:
    """Return the work of a task that sends.

    :param in_doubt: Maximum number of calls that may be unknown after a kill, an even number; default 2. Half of them
        are in flight.
    """

    def work(around: Surroundings) -> Mapping[str, Any]:
        around.limiter = FewInFlight(in_doubt // 2)

        def send() -> None:
            sending = SendTask(send_requests, around.context, SendPolicy(**policy), clock=around.clock)
            around.bill = lambda: sending.job.used
            sending.run(around)  # type: ignore[arg-type]

        return _ended(send)

    return work


def _ended(work: Callable[[], Any]) -> dict[str, Any]:
    """Run the work and return the task's state in Airflow."""
    try:
        work()
    except DeferRequested:
        return {"state": "deferred", "code": ""}
    except DingTalkError as error:
        return {"state": "failed" if error.permanent else "up_for_retry", "code": error.code}
    except RuntimeError as error:
        if str(error) != API_SERVER_ERROR:
            raise
        # The XCom was not pushed, so Airflow retries the task.
        return {"state": "up_for_retry", "code": "xcom"}
    return {"state": "success", "code": ""}


class Task:
    """One task instance and its tries.

    :param file: Path of its store.
    :param forgetful: Lose all intents, which the harness must catch; default False.
    """

    def __init__(self, url: str, file: Path, work: Work, *, forgetful: bool = False) -> None:
        self._url = url
        self._file = file
        self._work = work
        self._forgetful = forgetful
        self.gauges: list[Gauge] = []
        self.clear_count = 0
        self.clears = 0
        self.seen = FileStore(file)

    def begin(self, point: Point | None = None, calls: int = 0) -> int:
        """Start a try and return its process id.

        :param point: Point at which it kills itself; default None, never.
        :param calls: Minimum number of calls begun before; default 0.
        """
        gauge = Gauge()
        self.gauges.append(gauge)
        pid = os.fork()
        if pid == 0:
            self._live(gauge, point, calls)
        return pid

    def _live(self, gauge: Gauge, point: Point | None, calls: int) -> None:
        """Run the try in the child; never return."""
        status = 1
        try:
            number = len(self.gauges)
            files = FileStore(self._file, number)
            files.begin_try()
            if number > 1:
                self.gauges[-2]["at_fence"] = self.gauges[-2]["begun"]
            killer = Killer(gauge, point, calls)
            around = Surroundings(
                self._url, files, killer, gauge, clear_count=self.clear_count, forgetful=self._forgetful
            )
            how = self._work(around)
            gauge.take(around.bill())
            killer.reached(Point.BEFORE_SUCCESS)
            files.end(how)
            status = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)

    def begin_and_reach(self, calls: int) -> int:
        """Start tries until one has begun this many calls and still runs; return its process id.

        :raises TimeoutError: If no try gets that far within 60 s.
        """
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            pid = self.begin()
            while self.seen.end_of(len(self.gauges)) is None and time.monotonic() < deadline:
                if self.gauges[-1]["begun"] >= calls:
                    return pid
            wait_for(pid)
        raise TimeoutError(f"no try began {calls} calls within {TIMEOUT:g} s")

    def run(self) -> dict[str, Any]:
        """Run one try to its end and return its result."""
        wait_for(self.begin())
        return self.end()

    def end(self, back: int = 1) -> dict[str, Any]:
        """Return the result of the last try, or of an earlier one."""
        end = self.seen.end_of(len(self.gauges) + 1 - back)
        if end is None:
            raise RuntimeError(f"try {len(self.gauges) + 1 - back} left no word")
        return end

    def clear(self) -> None:
        """Clear the task."""
        self.clear_count += 1
        self.clears += 1

    def kill_at(self, point: Point, calls: int) -> bool:
        """Run one try that is killed at a named point; return True if it was."""
        return wait_for(self.begin(point, calls)) == -signal.SIGKILL

    def kill_somewhere(self, calls: int, rng: Random, spread: float) -> bool:
        """Run one try and kill it from outside after it began ``calls``; return True if it was killed.

        :param spread: Maximum delay of the kill in seconds.
        """
        pid = self.begin()
        gauge = self.gauges[-1]
        deadline = time.monotonic() + TIMEOUT
        while gauge["begun"] < calls and self.seen.end_of(len(self.gauges)) is None:
            if time.monotonic() > deadline:
                break
            time.sleep(GLANCE)
        time.sleep(rng.uniform(0, spread))
        os.kill(pid, signal.SIGKILL)  # not yet reaped, so the pid is still this child's
        return wait_for(pid) == -signal.SIGKILL

    def spent(self, *names: str) -> int:
        """Return the calls of all tries for some reasons."""
        return sum(gauge[name] for gauge in self.gauges for name in names)

    def close(self) -> None:
        """Close the store."""
        self.seen.close()


def wait_for(pid: int) -> int:
    """Wait for a child and return its exit status, negative for a signal.

    :raises TimeoutError: If it does not end within 60 s; it is killed.
    """
    deadline = time.monotonic() + TIMEOUT
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise TimeoutError(f"a try did not end within {TIMEOUT:g} s")
        time.sleep(GLANCE)
