"""Registry of everything that one task sends.

Operators, the hook and callbacks share one registry for each task instance and try, from all threads, so that none
overwrites the XComs of another.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

from msgspec import structs

from airflow_provider_dingtalk.jobs.checkpoint import AcceptedSend
from airflow_provider_dingtalk.jobs.receipt_delivery import FIRST_PAUSE, LONGEST_PAUSE
from airflow_provider_dingtalk.jobs.send import CUT_OFF, WORKERS, Send
from airflow_provider_dingtalk.language import choose, get_logger
from airflow_provider_dingtalk.messages.receipt import Receipt
from airflow_provider_dingtalk.messages.receipt_parser import parse_receipts
from airflow_provider_dingtalk.messages.send_request import FailedSend, SendRequest
from airflow_provider_dingtalk.task import xcoms
from airflow_provider_dingtalk.task.api_server import api_server_of, waiting_for_server
from airflow_provider_dingtalk.task.checkpoint.send import TaskSends
from airflow_provider_dingtalk.task.checkpoint.store import fingerprint, slices, use
from airflow_provider_dingtalk.task.conversations import shown_text
from airflow_provider_dingtalk.version_compat import call_supervisor

if TYPE_CHECKING:
    from airflow.sdk import Context

log = get_logger(__name__)

#: Timeout in seconds of an interrupted task for the last write of its results.
LAST_WRITE_TIMEOUT = 6.0
#: Timeout in seconds for pushing the results at the end of a job.
PUBLISH_TIMEOUT = 60.0

#: Key in the task state store of receipts that forked processes registered.
_FORKED = "dingtalk-send-2-forked"


def rollbacks_of(context: Context) -> list[str]:
    """List the DAG's rollback tasks that recall this task's messages."""
    dag: Any = context.get("dag")
    task_id = context["ti"].task_id
    tasks = dag.task_dict.values() if dag is not None else ()
    return [task.task_id for task in tasks if hasattr(task, "only_if_failed") and _is_source(task, task_id)]


def _is_source(rollback: Any, task_id: str) -> bool:
    sources = getattr(rollback, "from_tasks", None)
    return task_id == sources if isinstance(sources, str) else isinstance(sources, list | tuple) and task_id in sources


class SendRegistry:
    """Sends of one try of a task instance, accepted or in doubt."""

    def __init__(self, context: Context) -> None:
        context = waiting_for_server(context)
        self._api_server = api_server_of(context)
        self._ti: Any = context["ti"]
        self._store = context.get("task_state_store")
        self._rollbacks = rollbacks_of(context)
        self._lock = threading.RLock()
        self._receipts: dict[tuple[str | None, str, str], Receipt] = {}
        self._late: list[Receipt] = []
        self._alerts: list[Receipt] = []
        #: Keys of messages that this try recalled, by operators and the hook, in order.
        self.recalled: dict[str, None] = {}
        self._receipts_pushed = 0
        #: Number of receipts that earlier tries left; None before the first send.
        self._receipts_before: int | None = None
        self._values_pushed: dict[str, Any] = {}
        self._jobs: list[Send] = []
        self._alert_jobs: list[Send] = []
        self._jobs_in_flight = 0
        self._jobs_by_name: Counter[str] = Counter()
        self._sends: TaskSends | None = None

    @property
    def sends(self) -> TaskSends | None:
        """Task instance's sends; None without a task state store.

        :raises CheckpointError: If the store does not answer, or holds a value that this package did not write.
        """
        with self._lock:
            if self._sends is None and self._store is not None:
                # Airflow raises max_tries with each clear, so it is the clear count and the same for all retries.
                self._sends = TaskSends(self._store, int(self._ti.max_tries))
                # Airflow deleted the XComs of earlier tries.
                self.register(self._sends.receipts())
                if self._ti.try_number > 1:
                    self.register(_stored(use(self._store.get, _FORKED, [])))
            return self._sends

    def job_name(self, name: str) -> str:
        """Return a unique name, the same in each try: the operator's, and the number of its earlier jobs."""
        with self._lock:
            self._jobs_by_name[name] += 1
            return f"{name}:{self._jobs_by_name[name] - 1}"

    def hook_job(self, send_requests: Sequence[SendRequest]) -> Send:
        """Make a job for a send by the hook, which is not compared with earlier tries.

        :raises CheckpointError: If the store does not answer.
        """
        checkpoint = None
        if self.sends is not None:
            # A retry of a user's code sends again, so no two calls of the hook are the same job.
            checkpoint = self.sends.hook_job()
        elif not self._jobs and int(self._ti.max_tries) > 0:
            log.warning(
                "This Airflow has no task state store (3.3 has). When a retry of this task starts, it deletes "
                "the receipts of this try, and no rollback finds them: set retries to 0 in tasks that send."
            )
        return self.add_job(
            Send(
                send_requests,
                checkpoint=checkpoint,
                store_receipts=partial(self.publish_job, text=shown_text(send_requests)),
                store_late_receipts=self.publish_late,
            )
        )

    def callback_job(self, send_requests: Sequence[SendRequest]) -> Send:
        """Make a job for a callback; receipts that it has no time to register are in the log."""
        return self.add_job(Send(send_requests, store_receipts=self._publish_if_possible))

    def alert_job(self, send_requests: Sequence[SendRequest]) -> Send:
        """Make a job for a callback that reports a failure; a rollback does not recall its message."""
        job = self.add_job(Send(send_requests, store_receipts=self._publish_alert))
        self._alert_jobs.append(job)
        return job

    def add_job(self, job: Send) -> Send:
        """Add a job, in flight until it ends, whose unknown, dropped and refused receivers are published."""
        job.on_stop = self._api_server.stop
        with self._lock:
            if self._store is None and not self._jobs:
                self._register_before_deferral()
            self._jobs.append(job)
            self._jobs_in_flight += 1
        return job

    def begin(self) -> None:
        """Push the XCom that tells rollbacks that this task sends."""
        if self._rollbacks:
            # Airflow calls a task failed when a user stops it, and lets it run for up to 10 seconds more.
            self._push(xcoms.SENDING, {"is_over": False, "rollbacks": self._rollbacks, **self._limits()})

    def _limits(self) -> dict[str, int]:
        """Return the numbers that limit how many calls a kill leaves in doubt."""
        with self._lock:
            if self._receipts_before is None:
                self._receipts_before = len(self._receipts)
            earlier = len(self._sends.in_flight) if self._sends is not None else 0
            return {
                "at_a_time": WORKERS * max(self._jobs_in_flight, 1) + earlier,
                "calls": sum(job.requested for job in self._jobs if job not in self._alert_jobs) + earlier,
                "receipts": self._receipts_before,
            }

    def end(self, job: Send) -> None:
        """Publish the results of a job, at its end."""
        with self._lock:
            self._jobs_in_flight -= 1
        refused = len(job.failed) + len(job.refused)
        sent, unknown = len(job.receipts), len(job.unknown)
        zh = f"已发送 {sent}，被拒绝 {refused}，未知 {unknown}。"
        log.info("%s", choose(f"Sent {sent}, refused {refused}, unknown {unknown}.", zh))
        self.publish_persistently()

    def end_interrupted(self, job: Send) -> None:
        """Publish the results of an interrupted job once more, for :data:`LAST_WRITE_TIMEOUT` seconds at most."""
        self._api_server.stop()
        if unwritten := [sent.receipt.to_json() for sent in job.delivery.unwritten.values()]:
            told = choose("Receipts that the task state store has not taken yet", "任务状态存储尚未写入的回执")
            log.warning("%s: %s", told, unwritten)
        # A stalled write must not block the task, and a failed one must not keep the receipt from the other place.
        writes = [partial(self._publish_interrupted, job), *([job.delivery.write_now] if unwritten else [])]
        threads = [threading.Thread(target=_write_or_log, args=(write,), daemon=True) for write in writes]
        for thread in threads:
            thread.start()
        until = time.monotonic() + LAST_WRITE_TIMEOUT
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _publish_interrupted(self, job: Send) -> None:
        with self._lock:
            self._jobs_in_flight -= 1
            if job not in self._alert_jobs:
                self.register(job.receipts)
        self.publish()

    def _register_before_deferral(self) -> None:
        """Register the receipts of this try before a deferral or a reschedule, which only XComs have below 3.3."""
        for number in count():
            if not (receipts := self._pull(xcoms.RECEIPTS.format(number))):
                break
            self.register(receipts)
        self._receipts_pushed = len(self._receipts)

    def register_sent(self, sent: AcceptedSend) -> None:
        """Register a message that no job sent, in the store and as an XCom, each also if the other one fails."""
        self.register([sent.receipt])
        try:
            if self.sends is not None:
                self.sends.hook_job().write_now({0: sent})
        finally:
            self.publish_persistently()

    def register(self, receipts: Sequence[Receipt]) -> None:
        """Register receipts, each message once."""
        with self._lock:
            for receipt in receipts:
                self._receipts.setdefault(_identity(receipt), receipt)

    def restore(self) -> None:
        """Register the receipts of earlier tries again, and publish them.

        :raises CheckpointError: If the store does not answer, or holds a value that this package did not write.
        """
        if self.sends is not None:
            self.publish_persistently()

    async def publish_job(self, receipts: Sequence[Receipt], text: str | None = None) -> None:
        """Register further receipts of a job, with the first line of its message, and publish them."""
        self.register([structs.replace(receipt, text=text) for receipt in receipts] if text else receipts)
        # Airflow waits for its supervisor's answer, so the push runs in a thread beside the event loop.
        await asyncio.to_thread(call_supervisor, self.publish_receipts)

    async def publish_late(self, receipts: Sequence[Receipt]) -> None:
        """Publish receipts of messages accepted after the next try began, which owns the other XComs."""
        await asyncio.to_thread(call_supervisor, self._push_late, *receipts)

    async def _publish_if_possible(self, receipts: Sequence[Receipt]) -> None:
        with _errors_logged():
            await self.publish_job(receipts)

    async def _publish_alert(self, receipts: Sequence[Receipt]) -> None:
        self._alerts = _merged(self._alerts, receipts)
        with _errors_logged():
            await asyncio.to_thread(self._push_receipts, xcoms.ALERT_RECEIPTS, self._alerts)

    def publish(self) -> None:
        """Push all that is registered and not pushed yet."""
        self.publish_receipts()
        with self._lock:
            jobs = list(self._jobs)
            self._push_if_changed(xcoms.RECEIPTS_COUNT, self._receipts_pushed)
            self._push_if_changed(xcoms.UNKNOWN, self._unknown(jobs))
            self._push_if_changed(xcoms.DROPPED, {user: reason for job in jobs for user, reason in job.dropped.items()})
            self._push_if_changed(xcoms.REFUSED, [one.to_json() for job in jobs for one in job.refused])
            if self._rollbacks and self._jobs_in_flight <= 0:
                self._push(xcoms.SENDING, {"is_over": True, "rollbacks": self._rollbacks})

    def publish_persistently(self, sleep: Callable[[float], None] = time.sleep) -> None:
        """Push all that is registered; retry for :data:`PUBLISH_TIMEOUT` seconds."""
        pause, until = FIRST_PAUSE, time.monotonic() + PUBLISH_TIMEOUT
        while True:
            try:
                return self.publish()
            except Exception as error:
                log.warning("Cannot push the result of a send (%s: %s).", type(error).__name__, error)
                if time.monotonic() >= until:
                    raise
            sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def publish_receipts(self) -> None:
        """Push the chunks of receipts that are not pushed yet, and after the first ones their number."""
        with self._lock:
            receipts, pushed = list(self._receipts.values()), self._receipts_pushed
            for number, indexes in enumerate(slices(len(receipts), xcoms.RECEIPTS_PER_XCOM)):
                if indexes.stop > pushed:
                    self._push_receipts(xcoms.RECEIPTS.format(number), receipts[indexes.start : indexes.stop])
            self._receipts_pushed = len(receipts)
            # The number tells whether a chunk is lost; the end of the job pushes the number of all.
            if not pushed:
                self._push_if_changed(xcoms.RECEIPTS_COUNT, len(receipts))

    def _unknown(self, jobs: Sequence[Send]) -> list[dict[str, Any]]:
        left = self._sends.left_in_doubt() if self._sends is not None else []
        marked = [(one, xcoms.ALERT_MARK if job in self._alert_jobs else {}) for job in jobs for one in job.unknown]
        return [
            *(FailedSend(one.to, CUT_OFF).to_json() for one in left),
            *(one.to_json() | mark for one, mark in marked),
        ]

    def _push_if_changed(self, key: str, value: Any) -> None:
        """Push a value that is not empty, or was not before."""
        if value != self._values_pushed.get(key, type(value)()):
            self._push(key, value)
            self._values_pushed[key] = value

    def _push_late(self, *receipts: Receipt) -> None:
        """Add receipts to the late ones of all this task's processes."""
        with self._lock, self._process_lock():
            self._late = _merged(self._late, receipts)
            self._push_receipts(xcoms.RECEIPTS_LATE, _merged(self._pull(xcoms.RECEIPTS_LATE), self._late))

    def _pull(self, key: str) -> list[Receipt]:
        """Return the receipts of this task instance under a key."""
        index = self._ti.map_index
        mapped = {} if index is None or index < 0 else {"map_indexes": [index]}
        pushed = self._ti.xcom_pull(task_ids=[self._ti.task_id], key=key, **mapped) or []
        return [one for chunk in pushed if chunk for one in _stored(chunk)]

    @contextmanager
    def _process_lock(self) -> Iterator[None]:
        """Lock out the other processes of this task, which a fork made."""
        ti = self._ti
        name = fingerprint(ti.dag_id, ti.run_id, ti.task_id, ti.map_index, os.getuid())
        with (Path(gettempdir()) / f"dingtalk-{name}.lock").open("a") as file:
            flock(file, LOCK_EX)
            yield

    def _push_receipts(self, key: str, receipts: Sequence[Receipt]) -> None:
        self._push(key, xcoms.with_run_id([receipt.to_json() for receipt in receipts], self._ti.run_id))

    def _push(self, key: str, value: Any) -> None:
        call_supervisor(self._ti.xcom_push, key, value)


class ForkedRegistry(SendRegistry):
    """Registry of a process that was forked while its task ran.

    The chunks, and the progress in the store, belong to the task's first process. So a forked process adds its
    receipts to the late ones, and to a list in the store that the next try registers again.
    """

    #: The sends of this process are not compared with earlier tries.
    sends = None

    def _register_before_deferral(self) -> None:
        """Register nothing, because the task's first process does."""

    def begin(self) -> None:
        """Push nothing, because the XCom belongs to the task's first process."""

    def publish(self) -> None:
        """Push receipts; the log has the other results."""
        self.publish_receipts()

    def publish_receipts(self) -> None:
        """Add the receipts of this process to the late ones, and to the store."""
        receipts = list(self._receipts.values())
        if len(receipts) > self._receipts_pushed:
            self._push_late(*receipts)
            if (store := self._store) is not None:
                with self._lock, self._process_lock():
                    known = _stored(store.get(_FORKED, []))
                    store.set(_FORKED, [one.to_json() for one in _merged(known, receipts)])
            self._receipts_pushed = len(receipts)


@contextmanager
def _errors_logged() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        log.warning("Cannot push the receipts of a callback (%s); they are in the log.", type(error).__name__)


def _identity(receipt: Receipt) -> tuple[str | None, str, str]:
    return receipt.conn_id, receipt.kind, receipt.key


def _stored(value: Any) -> list[Receipt]:
    """Return stored receipts; none if the value is not ours, because new receipts must be stored in any case."""
    try:
        return parse_receipts(value)
    except ValueError as error:
        log.warning("Stored receipts cannot be read and are replaced: %s", error)
        return []


def _merged(known: Sequence[Receipt], more: Sequence[Receipt]) -> list[Receipt]:
    return [*known, *(one for one in more if one not in known)]


def _write_or_log(write: Callable[[], None]) -> None:
    try:
        call_supervisor(write)
    except Exception as error:
        log.warning("The last write of a receipt failed (%s: %s).", type(error).__name__, error)
