"""Runs of a DAG, followed from the triggerer: which of them are over, what they sent, and when that is read.

A triggerer may ask Airflow for states of tasks and for XComs, not for a task's state store and not for events of
assets. So new runs are found by a poll of task states, and their receipts in the XComs of their tasks.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

from asgiref.sync import sync_to_async

from airflow_provider_dingtalk.api.clock import Clock
from airflow_provider_dingtalk.api.errors import ConfigurationError, DingTalkError
from airflow_provider_dingtalk.messaging.receipts import Kind, Receipt
from airflow_provider_dingtalk.messaging.waiting import Wait
from airflow_provider_dingtalk.run_history import RETURN_VALUE, clean, merge, sent_by

log = logging.getLogger(__name__)

#: Seconds between two polls for new runs, by default.
POLL_INTERVAL = 60.0
#: Seconds for which the messages of a run are watched, by default: a day.
WATCH_FOR = 86_400.0
#: States of a task that may have sent and will not send any more.
ENDED = ("success", "failed")
#: States of a task that did not run.
NOT_RUN = ("skipped", "upstream_failed", "removed")
_VERSION = 1


class AssetStore(Protocol):
    """What Airflow 3.3 keeps for an asset."""

    async def aget(self, key: str, default: Any = None) -> Any:
        """Return a value."""

    async def aset(self, key: str, value: Any) -> None:
        """Keep a value."""


class RunFeed:
    """Runs of a DAG as a triggerer sees them.

    :param dag_id: The DAG.
    :param task_ids: Tasks of it that send; None: all.
    """

    def __init__(self, dag_id: str, task_ids: Sequence[str] | None = None) -> None:
        self.dag_id = dag_id
        self.task_ids = list(task_ids) if task_ids else None

    async def states(self) -> dict[str, dict[str, str | None]]:
        """States of task instances by run; of mapped tasks as ``task_0``, ``task_1``, …"""
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        # Not in a thread of asyncio's: before 3.2.2 that would end the triggerer.
        ask = sync_to_async(RuntimeTaskInstance.get_task_states)
        found: dict[str, dict[str, str | None]] = await ask(dag_id=self.dag_id, task_ids=self.task_ids)
        return found

    async def receipts(self, run_id: str, names: Iterable[str]) -> list[Receipt]:
        """Receipts of what task instances of a run sent; DINGs are left out, for they cannot be asked for.

        :raises MissingReceiptsError: If a registered receipt cannot be read.
        """
        found = [await sync_to_async(sent_by)(task) for task in self._tasks(run_id, names)]
        sent = merge(found)
        sent.check_complete()
        return [receipt for receipt in sent.receipts if receipt.kind is not Kind.DING]

    def _tasks(self, run_id: str, names: Iterable[str]) -> list[_TriggererXComs]:
        """Tasks that may be meant by names: ``task_0`` is a task, or an instance of a mapped one."""
        plain = [_TriggererXComs(self.dag_id, run_id, name, [None]) for name in names]
        mapped: dict[str, list[int | None]] = {}
        for task in plain:
            task_id, _, index = task.task_id.rpartition("_")
            if task_id and index.isdigit():
                mapped.setdefault(task_id, []).append(int(index))
        return plain + [_TriggererXComs(self.dag_id, run_id, *each) for each in mapped.items()]


class _TriggererXComs:
    """XComs of one task of a run, as a triggerer may read them.

    :param indexes: Its instances; ``[None]`` if it is not mapped.
    """

    #: Airflow asks the XCom backend before it hands a value over.
    hides_values = False
    #: A send that is under way is not taken for one that was cut off.
    is_running = True

    def __init__(self, dag_id: str, run_id: str, task_id: str, indexes: Sequence[int | None]) -> None:
        self._dag_id = dag_id
        self._run_id = run_id
        self._indexes = indexes
        self.task_id = task_id
        self.instances = len(indexes)

    def pull(self, key: str) -> list[Any]:
        """Read the values of all instances under a key, without those that have none."""
        values = [self._get(key, index) for index in self._indexes]
        return [value for value in values if value is not None]

    def _get(self, key: str, index: int | None) -> Any:
        from airflow.sdk.exceptions import AirflowRuntimeError
        from airflow.sdk.execution_time.xcom import XCom

        where = {"dag_id": self._dag_id, "run_id": self._run_id, "task_id": self.task_id}
        try:
            return XCom.get_one(key=key, map_index=index, **where)
        except (AirflowRuntimeError, OSError):
            raise
        except Exception as error:
            if key != RETURN_VALUE:
                raise
            # What a stranger's task returns may be of a class that is not installed or not allowed here.
            log.warning("Ignoring what task %s returned (%s).", clean(self.task_id), type(error).__name__)
            return None


class FollowedRuns:
    """Waits for the messages of each run of a DAG, from the end of the run on.

    A run is watched once. Which runs are done with is kept with the asset, so that a restart of the triggerer
    neither forgets a run nor tells of one twice. Runs that were over before the first start are not watched.

    :param wait_of: Makes the wait for the messages of a run.
    :param store: Where to keep which runs are done with.
    :param mark: Name of the place there.
    :param interval: Seconds between two polls for new runs.
    """

    def __init__(
        self,
        feed: RunFeed,
        wait_of: Callable[[list[Receipt]], Wait],
        *,
        store: AssetStore,
        mark: str,
        interval: float,
        clock: Clock,
    ) -> None:
        self._feed = feed
        self._wait_of = wait_of
        self._store = store
        self._mark = mark
        self._interval = interval
        self._clock = clock
        self._waits: dict[str, Wait] = {}
        self._done: set[str] | None = None
        self._kept: set[str] | None = None
        self._next_poll = clock.now()
        self._is_known = True

    async def poll(self) -> None:
        """Find runs that are over, if it is time to. What fails is tried again at the next poll.

        :raises ConfigurationError: If Airflow keeps nothing for the asset, or the watcher has several assets.
        """
        if self._clock.now() < self._next_poll:
            return
        self._next_poll = self._clock.now() + self._interval
        try:
            await self._poll()
        except ConfigurationError:
            raise
        except Exception as error:  # Airflow is down, or restarts: it comes back
            log.warning("Runs of %s cannot be read just now (%s).", self._feed.dag_id, type(error).__name__)

    async def look(self, look: Callable[[Wait], Awaitable[None]]) -> list[tuple[str, Wait]]:
        """Look at the messages of all runs that are due; returns the runs whose messages are as wanted."""
        for run_id, wait in list(self._waits.items()):
            if wait.next_due is None:
                await self._end(run_id, "their time is over")
            elif wait.next_due <= self._clock.now():
                try:
                    await look(wait)
                except DingTalkError as error:
                    await self._end(run_id, str(error))
        return [(run_id, wait) for run_id, wait in self._waits.items() if wait.is_met]

    async def note_done(self, run_id: str) -> None:
        """Note that a run is done with."""
        self._waits.pop(run_id, None)
        if self._done is not None:
            self._done.add(_digest(run_id))
        await self._save()

    @property
    def pause(self) -> float:
        """Seconds until the next poll, or until a message is due."""
        due = [wait.next_due for wait in self._waits.values() if wait.next_due is not None]
        return max(min([self._next_poll, *due]) - self._clock.now(), 0.1)

    async def _end(self, run_id: str, reason: str) -> None:
        log.warning("No event for the run %s of %s: %s.", run_id, self._feed.dag_id, reason.rstrip("."))
        await self.note_done(run_id)

    async def _poll(self) -> None:
        states = await self._feed.states()
        over = {run_id: found for run_id, found in states.items() if _is_over(found)}
        if not states and self._is_known:
            self._is_known = False
            log.warning("Airflow knows no run of the DAG %r yet.", self._feed.dag_id)
        if self._done is None:
            self._done = await self._load(over)
        # What Airflow has forgotten need not be kept.
        self._done &= {_digest(run_id) for run_id in states}
        for run_id, found in over.items():
            if run_id not in self._waits and _digest(run_id) not in self._done:
                await self._take_up(run_id, [name for name, state in found.items() if state in ENDED])
        await self._save()

    async def _take_up(self, run_id: str, names: list[str]) -> None:
        try:
            receipts = await self._feed.receipts(run_id, names)
            if receipts:
                self._waits[run_id] = self._wait_of(receipts)
                log.info("Watching %d messages of the run %s.", len(receipts), run_id)
                return
        except DingTalkError as error:
            log.warning("No event for the run %s of %s: %s", run_id, self._feed.dag_id, error)
        if self._done is not None:
            self._done.add(_digest(run_id))

    async def _load(self, over: Iterable[str]) -> set[str]:
        try:
            kept = await self._store.aget(self._mark)
        except ValueError:
            raise ConfigurationError(
                "from_dag: the watcher belongs to several assets, or to none.",
                next_step="Give each watcher one asset: Airflow keeps what is done with for one.",
            ) from None
        if isinstance(kept, dict) and kept.get("version") == _VERSION and isinstance(kept.get("done"), list):
            self._kept = set(map(str, kept["done"]))
            return set(self._kept)
        return {_digest(run_id) for run_id in over}

    async def _save(self) -> None:
        if self._done is None or self._done == self._kept:
            return
        done = set(self._done)
        try:
            await self._store.aset(self._mark, {"version": _VERSION, "done": sorted(done)})
        except Exception as error:
            log.warning("After a restart an event may be made again (%s).", type(error).__name__)
            return
        self._kept = done


def _is_over(states: dict[str, str | None]) -> bool:
    return bool(states) and all(state in ENDED or state in NOT_RUN for state in states.values())


def _digest(run_id: str) -> str:
    """A short name of a run: Airflow keeps 64 KB for an asset, and there may be thousands of runs."""
    return hashlib.sha256(run_id.encode()).hexdigest()[:12]
