"""What the tasks of a run did, as far as a worker may ask Airflow: their states, and what they pushed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_dingtalk.execution import RECALLED, RECEIPTS, RECEIPTS_COUNT, SENDING

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

#: Task ids in one question to Airflow: they go into a URL.
MOST_IDS_ASKED = 100
#: Seconds for which Airflow lets a task run that it calls failed already: five until it notices, five to end.
LAST_BREATH = 15.0
FAILED = ("failed", "upstream_failed")
FINISHED = ("success", "failed")
UNDER_WAY = ("running", "deferred", "up_for_retry", "up_for_reschedule")


class Tasks:
    """Tasks of one run, and what they pushed.

    :param context: Of the task that asks.
    :param task_ids: Theirs. Of those that are mapped together with the asking task, its own instance is meant.
    :param dag_id: Of another DAG; by default the own.
    :param run_id: Of another run; by default the own.
    :param map_index: Only these instances of them; by default all.
    """

    def __init__(
        self,
        context: Context,
        task_ids: Iterable[str],
        *,
        dag_id: str | None = None,
        run_id: str | None = None,
        map_index: int | None = None,
    ) -> None:
        self._ti: Any = context["ti"]
        self.dag_id = dag_id or self._ti.dag_id
        self.run_id = run_id or self._ti.run_id
        self.ids = list(task_ids)
        self._map_index = _map_index(self._ti) if map_index is None else map_index
        if map_index is not None:
            self._siblings = frozenset(self.ids)
        else:
            self._siblings = _siblings(context) if self._is_here() else frozenset()
        self._others = _names(context) - {*self.ids} if self.dag_id == self._ti.dag_id else frozenset()

    def pull(self, key: str) -> list[Any]:
        """What was pushed under a key, by failed, killed and mapped tasks too."""
        where = {} if self._is_here() else {"dag_id": self.dag_id, "run_id": self.run_id}
        alone = [task_id for task_id in self.ids if task_id in self._siblings]
        others = [task_id for task_id in self.ids if task_id not in self._siblings]
        found: list[Any] = []
        if others:
            found += self._ti.xcom_pull(task_ids=others, key=key, **where) or ()
        if alone:
            found += self._ti.xcom_pull(task_ids=alone, key=key, map_indexes=[self._map_index], **where) or ()
        return [value for value in found if value is not None]

    def pull_numbered(self, key: str) -> list[Any]:
        """The same of ``key_0``, ``key_1``, … up to the first that nobody pushed."""
        found: list[Any] = []
        number = 0
        while chunks := [chunk for chunk in self.pull(key.format(number)) if chunk]:
            found += chunks
            number += 1
        return found

    def receipts(self) -> list[Any]:
        """Receipts, in lists."""
        return self.pull_numbered(RECEIPTS)

    def recalled(self) -> set[str]:
        """Keys of the messages that these tasks took back."""
        return {key for chunk in self.pull_numbered(RECALLED) for key in chunk}

    def number_sent(self) -> int:
        """How many receipts there are."""
        return sum(self.pull(RECEIPTS_COUNT))

    def has_failed(self) -> bool:
        """Whether one of them failed, or could not run because another one did."""
        return bool(self.failed())

    def failed(self) -> list[str]:
        """Names of those; of mapped ones as ``task_0``, ``task_1``, …"""
        return [name for name, state in self.states().items() if state in FAILED]

    def states(self) -> dict[str, str | None]:
        """Their states; those of mapped ones as ``task_0``, ``task_1``, …"""
        asked = self.ids if len(self.ids) <= MOST_IDS_ASKED else None
        found = self._ti.get_task_states(dag_id=self.dag_id, task_ids=asked, run_ids=[self.run_id])
        return {name: state for name, state in found.get(self.run_id, {}).items() if self._has(name)}

    def wait_for_sends(self, patience: float = LAST_BREATH, sleep: Callable[[float], None] = time.sleep) -> None:
        """Wait until the sends among them send no more.

        A send that a user stops, or a run that fails fast, is called failed while its process still sends. Of
        one that was killed there is no last word: after a while none is expected any more.

        :param patience: Seconds to wait at most.
        """
        waited = 0.0
        while any(not said["is_over"] for said in self.pull(SENDING)) and waited < patience:
            if not waited:
                log.info("A send was cut off; waiting up to %.0f s for what it may still send.", patience)
            sleep(1)
            waited += 1

    def _is_here(self) -> bool:
        return (self.dag_id, self.run_id) == (self._ti.dag_id, self._ti.run_id)

    def _has(self, name: str) -> bool:
        # A task may be called what an instance of another one would be: task_0.
        return name not in self._others and any(
            _is_of(name, task_id, self._map_index if task_id in self._siblings else None) for task_id in self.ids
        )


def tasks_of_run(context: Context, dag_id: str, run_id: str) -> Tasks:
    """All tasks of a run that may have pushed something."""
    ti: Any = context["ti"]
    # Airflow 3.1 has no crumbs: only the names of tasks are known there.
    crumbs = list(ti.get_task_breadcrumbs(dag_id, run_id)) if hasattr(ti, "get_task_breadcrumbs") else []
    done = {crumb["task_id"] for crumb in crumbs}
    states = ti.get_task_states(dag_id=dag_id, task_ids=None, run_ids=[run_id]).get(run_id, {})
    # Of those that run there are names only, and task_0 may be one of a mapped task's.
    begun = {name for name, state in states.items() if not crumbs or state in UNDER_WAY}
    return Tasks(context, sorted(done | begun | {_unmapped(name) for name in begun}), dag_id=dag_id, run_id=run_id)


def runs_not_rolled_back(context: Context, dag_id: str, rollbacks: Sequence[str]) -> list[str]:
    """Runs of a DAG that are over, and whose rollback did not succeed: for instance those that timed out.

    :param rollbacks: Ids of the DAG's rollback tasks.
    """
    ti: Any = context["ti"]
    found = ti.get_task_states(dag_id=dag_id, task_ids=list(rollbacks), run_ids=None)
    open_runs = [
        run_id for run_id, states in found.items() if any(state != "success" for state in states.values())
    ]
    return [run_id for run_id in sorted(open_runs) if ti.get_dagrun_state(dag_id, run_id) in FINISHED]


def indexes_not_rolled_back(context: Context, dag_id: str, run_id: str, rollback: str) -> list[int | None]:
    """Instances of a rollback that did not succeed in a run; ``None`` for one that is not mapped."""
    states = Tasks(context, [rollback], dag_id=dag_id, run_id=run_id).states()
    still_open = [name for name, state in states.items() if state != "success"]
    return [None if name == rollback else int(name.removeprefix(f"{rollback}_")) for name in still_open]


def _is_of(name: str, task_id: str, map_index: int | None) -> bool:
    """Whether a state is a task's. Those of a mapped task come as task_0, task_1, …"""
    if name == task_id:
        return True
    index = name.removeprefix(f"{task_id}_")
    return index != name and index.isdigit() and map_index in (None, int(index))


def _unmapped(name: str) -> str:
    head, _, index = name.rpartition("_")
    return head if head and index.isdigit() else name


def _names(context: Context) -> frozenset[str]:
    """Ids of all tasks of the DAG of the one that asks."""
    dag = context.get("dag")
    return frozenset(dag.task_dict) if dag is not None else frozenset()


def _siblings(context: Context) -> frozenset[str]:
    """Ids of the tasks that are mapped together with this one."""
    if _map_index(context["ti"]) < 0:
        return frozenset()
    group = context["task"].get_closest_mapped_task_group()
    return frozenset(task.task_id for task in group.iter_tasks()) if group else frozenset()


def _map_index(ti: Any) -> int:
    """Which instance of a mapped task runs; -1: it is not mapped."""
    return -1 if ti.map_index is None else int(ti.map_index)
