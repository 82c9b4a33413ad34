"""Triggerer's list of a DAG's ended runs, with their receipts and waits.

A triggerer may read task states and XComs, but not the task state store or asset events.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from asgiref.sync import sync_to_async
from msgspec import Struct

from airflow_provider_dingtalk.client.clock import Clock
from airflow_provider_dingtalk.exceptions import ConfigurationError, DingTalkError
from airflow_provider_dingtalk.jobs.wait import Wait
from airflow_provider_dingtalk.language import get_logger
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.receipt import Receipt
from airflow_provider_dingtalk.task.sent_messages import clean, merge, missing_error, sent_by
from airflow_provider_dingtalk.task.xcoms import RETURN_VALUE

log = get_logger(__name__)

#: Seconds between two polls for new runs; the default.
POLL_INTERVAL = 60.0
#: Seconds for which the messages of a run are watched; the default is one day.
WATCH_FOR = 86_400.0
#: States of a task that may have sent, and that sends no more.
ENDED = ("success", "failed")
#: States of a task that did not run.
NOT_RUN = ("skipped", "upstream_failed", "removed")
_VERSION = 1


class AssetStore(Protocol):
    """Airflow 3.3's key-value store of an asset."""

    async def aget(self, key: str, default: Any = None) -> Any:
        """Return the value of a key."""

    async def aset(self, key: str, value: Any) -> None:
        """Store a value under a key."""


class RunFeed:
    """DAG runs as a triggerer sees them.

    :param task_ids: Ids of the send tasks; default None, which means all tasks of the DAG.
    """

    def __init__(self, dag_id: str, task_ids: Sequence[str] | None = None) -> None:
        self.dag_id = dag_id
        self.task_ids = list(task_ids) if task_ids else None

    async def states(self) -> dict[str, dict[str, str | None]]:
        """Return the states of task instances by run id.

        Instances of mapped tasks are named ``task_0``, ``task_1``, …
        """
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        # Before 3.2.2 a call in a thread of asyncio's ends the triggerer, so asgiref's thread makes it.
        get_states = sync_to_async(RuntimeTaskInstance.get_task_states)
        found: dict[str, dict[str, str | None]] = await get_states(dag_id=self.dag_id, task_ids=self.task_ids)
        return found

    async def receipts(self, run_id: str, names: Iterable[str]) -> list[Receipt]:
        """Return the receipts of messages with a status that task instances of a run registered.

        :raises MissingReceiptsError: If a registered receipt cannot be read.
        """
        sent = merge([await sync_to_async(sent_by)(task) for task in self._tasks(run_id, names)])
        if sent.missing:
            raise missing_error(sent.missing)
        return [receipt for receipt in sent.receipts if message_type(receipt.kind).has_status]

    def _tasks(self, run_id: str, names: Iterable[str]) -> list[_TriggererXComs]:
        """List all tasks that the names may mean: ``task_0`` is a task, or an instance of the mapped ``task``."""
        plain: dict[str, list[int | None]] = {name: [None] for name in names}
        mapped: dict[str, list[int | None]] = {}
        for name in plain:
            task_id, _, index = name.rpartition("_")
            if task_id and index.isascii() and index.isdigit():
                mapped.setdefault(task_id, []).append(int(index))
        instances = [*plain.items(), *mapped.items()]
        return [_TriggererXComs(self.dag_id, run_id, task_id, indexes, len(indexes)) for task_id, indexes in instances]


class _TriggererXComs(Struct):
    """XComs of a run's task, as a triggerer may read them."""

    dag_id: str
    run_id: str
    task_id: str
    #: Map indexes of the task's instances; ``[None]`` if it is not mapped.
    indexes: list[int | None]
    instances: int
    #: Airflow resolves a value through the XCom backend before it returns it.
    hides_values: bool = False
    #: True, so that a send in flight is not taken for one that was interrupted.
    is_running: bool = True
    #: Not known here, so the number of receipts is read.
    is_settled: bool = False

    def pull(self, key: str) -> list[Any]:
        """Return the values of all instances under a key, without missing ones."""
        values = [self._get(key, index) for index in self.indexes]
        return [value for value in values if value is not None]

    def _get(self, key: str, index: int | None) -> Any:
        from airflow.sdk.exceptions import AirflowRuntimeError
        from airflow.sdk.execution_time.xcom import XCom

        where = {"dag_id": self.dag_id, "run_id": self.run_id, "task_id": self.task_id}
        try:
            return XCom.get_one(key=key, map_index=index, **where)
        except (AirflowRuntimeError, OSError):
            raise
        except Exception as error:
            if key != RETURN_VALUE:
                raise
            # The class of a return value may not be installed or allowed here, so the value is ignored.
            log.warning("Ignoring what task %s returned (%s).", clean(self.task_id), type(error).__name__)
            return None


class FollowedRuns:
    """Waits for the messages of each DAG run, from its end.

    Each run is watched once, also after a restart of the triggerer, unless it ended before the first start.

    :param wait_of: Function that makes the wait for the messages of a run.
    :param store: Asset's store, which keeps the finished runs.
    :param interval: Seconds between two polls for new runs.
    """

    def __init__(
        self,
        feed: RunFeed,
        wait_of: Callable[[list[Receipt]], Wait],
        *,
        store: AssetStore,
        store_key: str,
        interval: float,
        clock: Clock,
    ) -> None:
        self._feed = feed
        self._wait_of = wait_of
        self._store = store
        self._store_key = store_key
        self._interval = interval
        self._clock = clock
        self._waits: dict[str, Wait] = {}
        self._done: set[str] | None = None
        self._stored: set[str] | None = None
        self._next_poll = clock.now()
        self._is_known = True

    async def poll_runs(self) -> None:
        """Find runs that have ended, if the interval has passed; the next poll retries after an error.

        :raises ConfigurationError: If the watcher belongs to no asset, or to more than one.
        """
        if self._clock.now() < self._next_poll:
            return
        self._next_poll = self._clock.now() + self._interval
        try:
            await self._poll_runs()
        except ConfigurationError:
            raise
        except Exception as error:  # Airflow may be down, so the next poll retries
            log.warning("Runs of %s cannot be read just now (%s).", self._feed.dag_id, type(error).__name__)

    async def poll_messages(self, poll: Callable[[Wait], Awaitable[None]]) -> list[tuple[str, Wait]]:
        """Poll the messages of all runs that are due.

        :param poll: Function that polls the messages of one wait.
        :returns: Runs whose conditions are met, as pairs of run id and wait.
        """
        for run_id, wait in list(self._waits.items()):
            if wait.next_due is None:
                await self._give_up(run_id, DingTalkError("The time to watch its messages is over."))
            elif wait.next_due <= self._clock.now():
                try:
                    await poll(wait)
                except DingTalkError as error:
                    await self._give_up(run_id, error)
        return [(run_id, wait) for run_id, wait in self._waits.items() if wait.is_met]

    async def mark_done(self, run_id: str) -> None:
        """Record that a run needs no further polls."""
        self._waits.pop(run_id, None)
        if self._done is not None:
            self._done.add(_digest(run_id))
        await self._save()

    @property
    def pause(self) -> float:
        """Seconds until the next poll or due message; at least 0.1."""
        due = [wait.next_due for wait in self._waits.values() if wait.next_due is not None]
        return max(min([self._next_poll, *due]) - self._clock.now(), 0.1)

    async def _give_up(self, run_id: str, error: DingTalkError) -> None:
        log.warning("No event for the run %s of %s: %s", run_id, self._feed.dag_id, error)
        await self.mark_done(run_id)

    async def _poll_runs(self) -> None:
        states = await self._feed.states()
        ended = {run_id: found for run_id, found in states.items() if _is_ended(found)}
        if not states and self._is_known:
            self._is_known = False
            log.warning("Airflow knows no run of the DAG %r yet.", self._feed.dag_id)
        if self._done is None:
            self._done = await self._load(ended)
        # Airflow deleted the other runs, so their ids need not be kept.
        self._done &= {_digest(run_id) for run_id in states}
        for run_id, found in ended.items():
            if run_id not in self._waits and _digest(run_id) not in self._done:
                names = [name for name, state in found.items() if state in ENDED]
                if not await self._watch(run_id, names):
                    self._done.add(_digest(run_id))
        await self._save()

    async def _watch(self, run_id: str, names: list[str]) -> bool:
        """Begin the wait for a run's messages; return False if it has none."""
        try:
            if receipts := await self._feed.receipts(run_id, names):
                self._waits[run_id] = self._wait_of(receipts)
                log.info("Watching %d messages of the run %s.", len(receipts), run_id)
                return True
        except DingTalkError as error:
            log.warning("No event for the run %s of %s: %s", run_id, self._feed.dag_id, error)
        return False

    async def _load(self, ended: Iterable[str]) -> set[str]:
        try:
            stored = await self._store.aget(self._store_key)
        except ValueError:
            raise ConfigurationError(
                "from_dag: the watcher belongs to several assets, or to none.",
                next_step="Give each watcher one asset: Airflow keeps what is done with for one.",
            ) from None
        if isinstance(stored, dict) and stored.get("version") == _VERSION and isinstance(stored.get("done"), list):
            self._stored = set(map(str, stored["done"]))
            return set(self._stored)
        return {_digest(run_id) for run_id in ended}

    async def _save(self) -> None:
        if self._done is None or self._done == self._stored:
            return
        done = set(self._done)
        try:
            await self._store.aset(self._store_key, {"version": _VERSION, "done": sorted(done)})
        except Exception as error:
            log.warning("After a restart an event may be made again (%s).", type(error).__name__)
            return
        self._stored = done


def _is_ended(states: Mapping[str, str | None]) -> bool:
    return bool(states) and all(state in ENDED or state in NOT_RUN for state in states.values())


def _digest(run_id: str) -> str:
    """Return a 12-character hash of a run id, because Airflow keeps 64 KB for an asset and its thousands of runs."""
    return hashlib.sha256(run_id.encode()).hexdigest()[:12]
