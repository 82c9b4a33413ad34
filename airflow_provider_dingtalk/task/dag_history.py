"""Runs of a DAG as a worker sees them: states, ends, and XCom keys that no run has.

Airflow has no look-up of runs or XComs by time, so one request asks for the states of all runs, and one for the end of
each. Receipts are then read for all runs at once: Airflow lists the XComs of a task in a run and in all runs of an
earlier date, and registered receipts name their run. One request also shows for hundreds of runs that a task has no
XCom under a key.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_dingtalk.language import get_logger
from airflow_provider_dingtalk.task.api_server import api_server_of, is_not_found
from airflow_provider_dingtalk.task.sent_messages import clean, holds_receipts, names_in
from airflow_provider_dingtalk.task.xcoms import RECALLED, RETURN_VALUE, SENDING, is_chunk_of_receipts, run_id_of
from airflow_provider_dingtalk.version_compat import dag_run, has_custom_xcom_backend, xcoms_until

if TYPE_CHECKING:
    from airflow.sdk import Context

log = get_logger(__name__)

#: Most ids in one request to Airflow, because they go into a URL.
MAX_IDS_PER_REQUEST = 100
#: Seconds for which Airflow may let a failed task run: 5 until the task notices and 5 to end, plus a margin.
FAILED_TASK_GRACE = 15.0
#: Most characters, about, of one answer with the XComs of many runs.
MAX_ANSWER = 5_000_000
#: States of runs that have ended.
FINISHED = ("success", "failed")


class DagHistory:
    """Runs of one DAG.

    A run is settled if it had ended, and its tasks sent no more, when the states were read. What Airflow tells of many
    runs at once is used for settled runs only.

    :param now: Function that returns the Unix time in seconds; default :func:`time.time`.
    :ivar states: States of task instances by run id; instances of mapped tasks are named ``task_0``, ``task_1``, …
    """

    def __init__(self, context: Context, dag_id: str, *, now: Callable[[], float] = time.time) -> None:
        self._ti: Any = context["ti"]
        self._server = api_server_of(context)
        self._now = now
        self.dag_id = dag_id
        self.states: dict[str, Mapping[str, str | None]] = {}
        #: Unix time in seconds at which the states were read; infinite until then.
        self._states_read = math.inf
        self._run_ids: Sequence[str] | None = None
        self._mapped: Mapping[str, Mapping[str, str | None]] | None = None
        self._settled: dict[str, datetime] = {}
        #: Runs by id, as :meth:`ask` found them.
        self._runs: dict[str, Any] = {}
        self._found: dict[tuple[str, str], bool] = {}
        self._recalled: dict[str, frozenset[str] | None] = {}
        #: Chunks of receipts by task id and key, and then by run; None if look-ups must tell.
        self._chunks: dict[tuple[str, str], Mapping[str, list[Any]] | None] = {}

    def read_states(self, run_ids: Sequence[str] | None = None) -> None:
        """Read the states of task instances.

        :param run_ids: Ids of the runs; default None, which means all runs.
        """
        self._run_ids = run_ids
        self._states_read = self._now()
        self.states = self._read_states()

    def ask(self, run_ids: Iterable[str]) -> Iterator[tuple[str, Any]]:
        """Yield runs by id, with their states and dates, without those that were deleted meanwhile.

        Before Airflow 3.2 a worker cannot ask; it gets None for each run.
        """
        return ((run_id, self._runs[run_id]) for run_id in run_ids if self._exists(run_id))

    def _exists(self, run_id: str) -> bool:
        try:
            run = self._runs[run_id] = self._server.call(dag_run, self.dag_id, run_id)
        except Exception as error:
            if not is_not_found(error):
                raise
            log.warning("Run %s was deleted during the search, and its receipts with it.", clean(run_id))
            return False
        if run is not None and _has_ended(run, min(self._now(), self._states_read) - FAILED_TASK_GRACE):
            self._settled[run_id] = run.logical_date or run.run_after
        return True

    def is_within(self, run_id: str, since: float, until: float) -> bool:
        """Return True if it is known that a run has worked between two Unix times in seconds only."""
        run = self._runs.get(run_id)
        # A clear begins a run again, and the XComs of tasks that have not begun since are older.
        if run is None or run.start_date is None or run.clear_number:
            return False
        ended = math.inf if run.end_date is None else run.end_date.timestamp()
        return run.start_date.timestamp() >= since and ended <= until

    def of(self, run_id: str) -> DagHistory | None:
        """Return this history if it may answer for a run; otherwise None."""
        return self if run_id in self._settled else None

    def has_mapped(self, run_id: str) -> bool:
        """Return True if a run has mapped tasks, whose ids cannot be told from the names of the instances."""
        if self._mapped is None:
            # An expanded task has an instance 0.
            self._mapped = self._read_states(map_index=0)
        return bool(self._mapped.get(run_id))

    def may_have(self, task_id: str, key: str) -> bool:
        """Return False if a task has no XCom under a key, in any settled run."""
        if (task_id, key) not in self._found:
            self._found[task_id, key] = bool(self._xcoms(task_id, key, 1))
        return self._found[task_id, key]

    def may_be_interrupted(self, task_id: str) -> bool:
        """Return False if all sends of a task ended by themselves, in all settled runs."""
        if (task_id, "") not in self._found:
            sends = self._xcoms(task_id, SENDING)
            self._found[task_id, ""] = not all(isinstance(one, dict) and one.get("is_over") is True for one in sends)
        return self._found[task_id, ""]

    def may_return_receipts(self, task_id: str) -> bool:
        """Return False if no value that a task returned holds a receipt, in all settled runs."""
        if (task_id, "returned") not in self._found:
            found = self._all_xcoms(task_id, RETURN_VALUE, until=holds_receipts)
            self._found[task_id, "returned"] = found is None
        return self._found[task_id, "returned"]

    def chunks(self, run_id: str, task_id: str, key: str) -> list[Any] | None:
        """Return the chunks of receipts of all instances of a task under a key, in a settled run.

        :returns: None for any other key, and if a look-up must tell.
        """
        # The few runs of a sweep need no list that holds the receipts of all other runs too.
        if not is_chunk_of_receipts(key) or self._run_ids is not None:
            return None
        if (task_id, key) not in self._chunks:
            self._chunks[task_id, key] = self._read_chunks(task_id, key)
        by_run = self._chunks[task_id, key]
        return None if by_run is None else by_run.get(run_id, [])

    def _read_chunks(self, task_id: str, key: str) -> Mapping[str, list[Any]] | None:
        found = self._all_xcoms(task_id, key, until=lambda chunk: run_id_of(chunk) is None)
        if found is None:
            return None
        by_run: dict[str, list[Any]] = {}
        for chunk in found:
            by_run.setdefault(str(run_id_of(chunk)), []).append(chunk)
        # A user may have pushed a copy in another run. A task that is not mapped has one chunk under a key.
        is_exact = all(len(chunks) == 1 or self.has_mapped(run_id) for run_id, chunks in by_run.items())
        return by_run if is_exact and by_run.keys() <= self.states.keys() else None

    def recalled(self, task_id: str) -> frozenset[str] | None:
        """Return the keys of the messages that a task recalled, in all settled runs and maybe others; or None."""
        if task_id not in self._recalled:
            self._recalled[task_id] = self._read_recalled(task_id)
        return self._recalled[task_id]

    def _read_recalled(self, task_id: str) -> frozenset[str] | None:
        keys: set[str] = set()
        number = 0
        while found := self._all_xcoms(task_id, RECALLED.format(number)):
            keys.update(names_in(found))
            number += 1
        return None if found is None else frozenset(keys)

    def _all_xcoms(self, task_id: str, key: str, until: Callable[[Any], bool] = lambda _: False) -> list[Any] | None:
        """Return the XComs of a task under a key, in all settled runs and maybe others.

        :param until: Function that tells of a value that there is no need of the others; default never.
        :returns: None after such a value, and if they are many or large, or an XCom backend may keep them elsewhere.
        """
        limit, size = 1, 0
        # For few runs, a look-up for each takes less.
        while size <= MAX_ANSWER and limit <= 10 * len(self._settled) and not has_custom_xcom_backend():
            found = self._xcoms(task_id, key, limit)
            if any(map(until, found)):
                return None
            if len(found) < limit:  # so there are no more
                return found
            limit, size = 10 * limit, 10 * len(str(found))  # of the next answer
        return None

    def is_confirmed(self) -> bool:
        """Ask for the newest run once more; return False if it was deleted or ran again meanwhile.

        Then XComs of other runs may not have been seen.
        """
        if not self._settled:
            return True
        newest = self._newest
        known = self._runs[newest]
        return self._exists(newest) and bool(self._runs[newest] == known)

    def _xcoms(self, task_id: str, key: str, limit: int | None = None) -> list[Any]:
        return self._server.call(xcoms_until, self.dag_id, self._newest, task_id, key, limit)

    @property
    def _newest(self) -> str:
        """Settled run of the latest date."""
        return max(self._settled, key=lambda run_id: (self._settled[run_id], run_id))

    def _read_states(self, **more: Any) -> dict[str, Mapping[str, str | None]]:
        ids = self._run_ids
        parts = (
            [ids]
            if ids is None
            else [ids[at : at + MAX_IDS_PER_REQUEST] for at in range(0, len(ids), MAX_IDS_PER_REQUEST)]
        )
        found: dict[str, Mapping[str, str | None]] = {}
        for part in parts:
            found |= self._ti.get_task_states(dag_id=self.dag_id, task_ids=None, run_ids=part, **more)
        return found


def _has_ended(run: Any, before: float) -> bool:
    return run.state in FINISHED and run.end_date is not None and run.end_date.timestamp() < before
