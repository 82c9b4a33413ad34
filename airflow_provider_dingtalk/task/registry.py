"""Registry of everything that one task sends.

Operators, operators called by hand, the hook and callbacks share one registry for each task instance and try.
So none overwrites the XComs of another. A rollback finds what it pushes; see
:mod:`airflow_provider_dingtalk.task.xcoms`. Outside of a running task there is no registry.

The main thread, the event loop's thread and worker threads use it at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from itertools import takewhile
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

from airflow_provider_dingtalk.jobs.checkpoint import AcceptedSend
from airflow_provider_dingtalk.jobs.receipt_delivery import FIRST_PAUSE, LONGEST_PAUSE
from airflow_provider_dingtalk.jobs.send import CUT_OFF, Send
from airflow_provider_dingtalk.messages.receipt import Receipt
from airflow_provider_dingtalk.messages.receipt_parser import parse_receipts
from airflow_provider_dingtalk.messages.send_request import FailedSend, SendRequest
from airflow_provider_dingtalk.task.checkpoint.send import HookSends, TaskSends
from airflow_provider_dingtalk.task.checkpoint.store import fingerprint, use
from airflow_provider_dingtalk.task.xcoms import (
    ALERT_RECEIPTS,
    DROPPED,
    RECEIPTS,
    RECEIPTS_COUNT,
    RECEIPTS_LATE,
    RECEIPTS_PER_XCOM,
    REFUSED,
    SENDING,
    UNKNOWN,
)
from airflow_provider_dingtalk.version_compat import call_supervisor

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

#: Timeout in seconds of an interrupted task for the last write to each place.
LAST_TRY = 6.0
#: Timeout in seconds for pushing the results at the end of a job.
PATIENCE = 60.0

#: Key in the task state store of receipts that forked processes registered.
_FORKED = "dingtalk-send-2-forked"


def rollbacks_of(context: Context) -> list[str]:
    """List the DAG's rollback tasks that recall this task's messages."""
    dag: Any = context.get("dag")
    task_id = context["ti"].task_id
    tasks = dag.task_dict.values() if dag is not None else ()
    return [
        task.task_id
        for task in tasks
        if hasattr(task, "only_if_failed") and task_id in _listed(getattr(task, "from_tasks", None))
    ]


def _listed(value: Any) -> Sequence[Any]:
    return [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else ()


class SendRegistry:
    """Sends of one try of a task instance, accepted or in doubt.

    :param context: Airflow context of the task.
    """

    def __init__(self, context: Context) -> None:
        self._ti: Any = context["ti"]
        self._store = context.get("task_state_store")
        self._rollbacks = rollbacks_of(context)
        self._lock = threading.RLock()
        self._receipts: dict[tuple[str | None, str, str], Receipt] = {}
        self._late: list[Receipt] = []
        self._alerts: list[Receipt] = []
        self._pushed = 0
        self._told: dict[str, Any] = {}
        self._jobs: list[Send] = []
        self._open = 0
        self._names: Counter[str] = Counter()
        self._sends: TaskSends | None = None

    # ── jobs ─────────────────────────────────────────────────────────────────────────────────────────

    @property
    def sends(self) -> TaskSends | None:
        """Task instance's sends; None without a task state store.

        The messages of earlier tries are registered again, because Airflow deleted their XComs.

        :raises LedgerError: If the store does not answer, or holds a value that this package did not write.
        """
        with self._lock:
            if self._sends is None and self._store is not None:
                # Airflow raises max_tries with each clear, so it is the clear count and the same for all retries.
                self._sends = TaskSends(self._store, int(self._ti.max_tries))
                self.add(self._sends.receipts())
                if self._ti.try_number > 1:
                    self.add(parse_receipts(use(self._store.get, _FORKED, [])))
            return self._sends

    def claim(self, name: str) -> str:
        """Return a unique name for a job, the same in each try.

        It consists of the operator's name and the number of its earlier jobs in this try.
        """
        with self._lock:
            self._names[name] += 1
            return f"{name}:{self._names[name] - 1}"

    def hook_job(self, send_requests: Sequence[SendRequest]) -> Send:
        """Make a job for a send by the hook.

        The job is registered, and not compared with earlier tries.

        :raises LedgerError: If the store does not answer.
        """
        checkpoint = None
        if self.sends is not None:
            # A retry of a user's code sends again, so no two calls of the hook are the same job.
            checkpoint = HookSends(self.sends)
        elif not self._jobs and int(self._ti.max_tries) > 0:
            log.warning(
                "This Airflow has no task state store (3.3 has). When a retry of this task starts, it deletes "
                "the receipts of this try, and no rollback finds them: set retries to 0 in tasks that send."
            )
        return self.track(
            Send(send_requests, checkpoint=checkpoint, store_receipts=self.keep, store_late_receipt=self.keep_late)
        )

    def callback_job(self, send_requests: Sequence[SendRequest]) -> Send:
        """Make a job for a callback.

        Receipts that cannot be registered in the callback's short time are in the log.
        """
        return self.track(Send(send_requests, store_receipts=self._keep_if_possible))

    def alert_job(self, send_requests: Sequence[SendRequest]) -> Send:
        """Make a job for a callback that reports a failure.

        The rollback of the task's block does not recall its message.
        """
        return self.track(Send(send_requests, store_receipts=self._keep_alert))

    def track(self, job: Send) -> Send:
        """Add a job whose unknown, dropped and refused receivers are published too.

        The job counts as sending until it ends.
        """
        with self._lock:
            self._jobs.append(job)
            self._open += 1
        return job

    def begin(self) -> None:
        """Push the XCom that tells rollbacks that this task sends.

        Airflow calls a task failed when a user stops it, and lets it run for up to 10 seconds more.
        """
        if self._rollbacks:
            self._push(SENDING, {"is_over": False, "rollbacks": self._rollbacks})

    def end(self, job: Send) -> None:
        """Publish the results of a job, at its end."""
        with self._lock:
            self._open -= 1
        log.info(
            "Sent %d, refused %d, unknown %d.",
            len(job.receipts),
            len(job.failed) + len(job.refused),
            len(job.unknown),
        )
        self.publish_persistently()

    def end_interrupted(self, job: Send) -> None:
        """Write to every place once more, XComs first.

        It waits at most :data:`LAST_TRY` seconds.
        """
        with self._lock:
            self._open -= 1
        # A stalled write must not block the task, and a failed one must not keep the receipt from the other place.
        tries = [threading.Thread(target=_quietly, args=(self.publish,), daemon=True)]
        if (sent := job.delivery.unwritten) is not None:
            tries.append(threading.Thread(target=_quietly, args=(job.delivery.write_now, sent), daemon=True))
        for one in tries:
            one.start()
        until = time.monotonic() + LAST_TRY
        for one in tries:
            one.join(max(0.0, until - time.monotonic()))

    # ── registered receipts ──────────────────────────────────────────────────────────────────────────

    def add(self, receipts: Sequence[Receipt]) -> None:
        """Register receipts, each message once."""
        with self._lock:
            for receipt in receipts:
                self._receipts.setdefault(_identity(receipt), receipt)

    def _add_last(self, receipts: Sequence[Receipt]) -> None:
        """Register a job's last receipts, back to the first known one.

        A job may have 10,000 receipts.
        """
        with self._lock:
            new = list(takewhile(lambda one: _identity(one) not in self._receipts, reversed(receipts)))
            self.add(new[::-1])

    def restore(self) -> None:
        """Register the receipts of earlier tries again, and publish them.

        :raises LedgerError: If the store does not answer, or holds a value that this package did not write.
        """
        if self.sends is not None:
            self.publish_persistently()

    async def keep(self, receipts: Sequence[Receipt]) -> None:
        """Register receipts and publish them, from an event loop."""
        self._add_last(receipts)
        # Airflow waits for its supervisor's answer, so the push runs in a thread beside the event loop.
        await asyncio.to_thread(call_supervisor, self.publish_receipts)

    async def keep_late(self, receipt: Receipt) -> None:
        """Publish the receipt of a message accepted after the next try began.

        The XComs belong to that try, so all late receipts are added to a key of their own.
        """
        await asyncio.to_thread(call_supervisor, self._push_late, receipt)

    async def _keep_if_possible(self, receipts: Sequence[Receipt]) -> None:
        with _only_warned():
            await self.keep(receipts)

    async def _keep_alert(self, receipts: Sequence[Receipt]) -> None:
        self._alerts += [receipt for receipt in receipts if receipt not in self._alerts]
        with _only_warned():
            await asyncio.to_thread(self._push, ALERT_RECEIPTS, [one.to_json() for one in self._alerts])

    def publish(self) -> None:
        """Push all that is registered and not pushed yet."""
        self.publish_receipts()
        with self._lock:
            jobs = list(self._jobs)
            self._tell(UNKNOWN, self._unknown(jobs))
            self._tell(DROPPED, {who: why for job in jobs for who, why in job.dropped.items()})
            self._tell(REFUSED, [one.to_json() for job in jobs for one in job.refused])
            if self._rollbacks and self._open <= 0:
                self._push(SENDING, {"is_over": True, "rollbacks": self._rollbacks})

    def publish_persistently(self, sleep: Callable[[float], None] = time.sleep) -> None:
        """Push all that is registered; retry for :data:`PATIENCE` seconds."""
        pause, until = FIRST_PAUSE, time.monotonic() + PATIENCE
        while True:
            try:
                self.publish()
            except Exception as error:
                log.warning("Cannot push the result of a send (%s: %s).", type(error).__name__, error)
                if time.monotonic() >= until:
                    raise
            else:
                return
            sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def publish_receipts(self) -> None:
        """Push receipts that are not pushed yet: their chunks, then their number."""
        with self._lock:
            receipts = list(self._receipts.values())
            if len(receipts) == self._pushed:
                return
            for number in range(self._pushed // RECEIPTS_PER_XCOM, (len(receipts) - 1) // RECEIPTS_PER_XCOM + 1):
                chunk = receipts[number * RECEIPTS_PER_XCOM : (number + 1) * RECEIPTS_PER_XCOM]
                self._push(RECEIPTS.format(number), [receipt.to_json() for receipt in chunk])
            self._push(RECEIPTS_COUNT, len(receipts))
            self._pushed = len(receipts)

    def _unknown(self, jobs: Sequence[Send]) -> list[dict[str, Any]]:
        left = self._sends.left_in_doubt() if self._sends is not None else []
        unsent = [
            *(FailedSend(address.to, CUT_OFF) for address in left),
            *(one for job in jobs for one in job.unknown),
        ]
        return [one.to_json() for one in unsent]

    def _tell(self, key: str, value: Any) -> None:
        """Push a value that is not empty, or was not before."""
        if value != self._told.get(key, type(value)()):
            self._push(key, value)
            self._told[key] = value

    def _push_late(self, *receipts: Receipt) -> None:
        """Add receipts to the late ones of all this task's processes."""
        with self._lock, self._alone():
            self._late += [receipt for receipt in receipts if receipt not in self._late]
            mapped = {"map_indexes": [self._ti.map_index]} if (self._ti.map_index or -1) >= 0 else {}
            there = self._ti.xcom_pull(task_ids=[self._ti.task_id], key=RECEIPTS_LATE, **mapped) or []
            known = [one for some in there if some for one in parse_receipts(some)]
            self._push(RECEIPTS_LATE, [one.to_json() for one in _merged(known, self._late)])

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Lock out the other processes of this task, which a fork made."""
        ti = self._ti
        name = fingerprint(ti.dag_id, ti.run_id, ti.task_id, ti.map_index, os.getuid())
        with (Path(gettempdir()) / f"dingtalk-{name}.lock").open("a") as file:
            flock(file, LOCK_EX)
            yield

    def _push(self, key: str, value: Any) -> None:
        call_supervisor(self._ti.xcom_push, key, value)


class ForkedRegistry(SendRegistry):
    """Registry of a process that was forked while its task ran.

    The chunks, and the progress in the store, belong to the task's first process. A forked process adds its
    receipts to the late ones, and to a list of its own in the store. The next try registers them again.
    """

    @property
    def sends(self) -> TaskSends | None:
        """None, because this process's sends are not compared with earlier tries."""
        return None

    def begin(self) -> None:
        """Push nothing, because the XCom belongs to the task's first process."""

    def publish(self) -> None:
        """Push receipts; the log has the other results."""
        self.publish_receipts()

    def publish_receipts(self) -> None:
        """Add the receipts of this process to the late ones."""
        receipts = list(self._receipts.values())
        if len(receipts) > self._pushed:
            self._push_late(*receipts)
            self._write(receipts)
            self._pushed = len(receipts)

    def _write(self, receipts: Sequence[Receipt]) -> None:
        if (store := self._store) is not None:
            with self._lock, self._alone():
                known = parse_receipts(store.get(_FORKED, []))
                store.set(_FORKED, [one.to_json() for one in _merged(known, receipts)])


@contextmanager
def _only_warned() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        log.warning("Cannot push the receipts of a callback (%s); they are in the log.", type(error).__name__)


def _identity(receipt: Receipt) -> tuple[str | None, str, str]:
    return receipt.conn_id, receipt.kind, receipt.key


def _merged(known: Sequence[Receipt], more: Sequence[Receipt]) -> list[Receipt]:
    return [*known, *(one for one in more if one not in known)]


def _quietly(write: Callable[..., None], *arguments: AcceptedSend) -> None:
    try:
        call_supervisor(write, *arguments)
    except Exception as error:
        log.warning("The last try to keep a receipt failed (%s: %s).", type(error).__name__, error)
