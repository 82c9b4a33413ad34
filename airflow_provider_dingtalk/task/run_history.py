"""Tasks of a run as a worker sees them: states and XComs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.language import get_logger
from airflow_provider_dingtalk.task.api_server import is_not_found
from airflow_provider_dingtalk.task.dag_history import FAILED_TASK_GRACE, FINISHED, MAX_IDS_PER_REQUEST, DagHistory
from airflow_provider_dingtalk.task.sent_messages import (
    SentMessages,
    clean,
    is_sending,
    merge,
    number_of,
    recalled_by,
    sent_by,
)
from airflow_provider_dingtalk.task.xcoms import RECEIPTS_COUNT, RETURN_VALUE, SENDING

if TYPE_CHECKING:
    from airflow.sdk import Context

log = get_logger(__name__)

FAILED = ("failed", "upstream_failed")
#: States of the tasks of a run that has not begun.
NEVER_BEGUN = frozenset({None, "scheduled", "queued"})
#: States of tasks that Airflow names with task id and map index apart.
ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")


class Tasks:
    """Tasks of one run, with their states and XComs.

    :param task_ids: Ids of the tasks. Of tasks mapped together with the running task, only its own instance counts.
    :param dag_id: Id of the DAG; default None, which means the running task's DAG.
    :param run_id: Id of the run; default None, which means the running task's run.
    :param map_index: Map index of the instances; default None, which means all instances.
    :param history: Runs of the DAG, if they may answer for this run; default None.
    """

    def __init__(
        self,
        context: Context,
        task_ids: Iterable[str],
        *,
        dag_id: str | None = None,
        run_id: str | None = None,
        map_index: int | None = None,
        history: DagHistory | None = None,
    ) -> None:
        self._ti: Any = context["ti"]
        self.history = history
        self.dag_id = dag_id or self._ti.dag_id
        self.run_id = run_id or self._ti.run_id
        self.ids = list(task_ids)
        self._is_here = (self.dag_id, self.run_id) == (self._ti.dag_id, self._ti.run_id)
        self._map_index = _map_index(self._ti) if map_index is None else map_index
        #: Tasks of which only the instance of ``_map_index`` counts.
        self._of_one_index = frozenset(self.ids)
        if map_index is None:
            self._of_one_index = _siblings(context) if self._is_here else frozenset()
        self._others: frozenset[str] = frozenset()
        if self.dag_id == self._ti.dag_id and (dag := context.get("dag")) is not None:
            self._others = frozenset(dag.task_dict) - {*self.ids}

    def pull(self, key: str, task_ids: Sequence[str] | None = None) -> list[Any]:
        """Return XComs under a key, also of failed, killed and mapped tasks.

        :param task_ids: Ids of the tasks to read; default None, which means all.
        """
        where = {} if self._is_here else {"dag_id": self.dag_id, "run_id": self.run_id}
        every = self.ids if task_ids is None else task_ids
        if self.history is not None:
            every = [task_id for task_id in every if self.history.may_have(task_id, key)]
        found: list[Any] = []
        if whole := [task_id for task_id in every if task_id not in self._of_one_index]:
            found += self._ti.xcom_pull(task_ids=whole, key=key, **where) or ()
        if mapped := [task_id for task_id in every if task_id in self._of_one_index]:
            found += self._ti.xcom_pull(task_ids=mapped, key=key, map_indexes=[self._map_index], **where) or ()
        return [value for value in found if value is not None]

    def sent(self, *, alerts: bool = False) -> SentMessages:
        """Return the messages that these tasks sent.

        :param alerts: True to include messages that report a failure of the tasks; default False.
        """
        if not self.ids:
            return SentMessages()
        states: dict[str, dict[str, str | None]] = {task_id: {} for task_id in self.ids}
        for name, state in self.states().items():
            for task_id in states.keys() & names_of([name]):
                states[task_id][name] = state
        return merge(sent_by(self._xcoms_of(task_id, of_task), alerts=alerts) for task_id, of_task in states.items())

    def recalled(self, keys: set[str] | None = None) -> set[str]:
        """Return the keys of the messages that these tasks recalled.

        :param keys: Keys that are asked for; default None, which means all. Those that the tasks recalled in other runs
            are among them too.
        """
        found: set[str] = set()
        for task_id in self.ids:
            if keys is not None and self.history is not None and (known := self.history.recalled(task_id)) is not None:
                found |= keys & known
            else:
                found |= recalled_by(self._xcoms_of(task_id, {}))
        return found

    def number_sent(self) -> int:
        """Count the receipts that these tasks registered."""
        return number_of(self.pull(RECEIPTS_COUNT))

    def failed(self) -> list[str]:
        """List the names of the tasks that failed or could not run."""
        return [name for name, state in self.states().items() if state in FAILED]

    def states(self) -> dict[str, str | None]:
        """Return the states of the tasks by name.

        Instances of mapped tasks are named ``task_0``, ``task_1``, …
        """
        task_ids = self.ids if len(self.ids) <= MAX_IDS_PER_REQUEST else None
        found = (
            self._ti.get_task_states(dag_id=self.dag_id, task_ids=task_ids, run_ids=[self.run_id])
            if self.history is None
            else self.history.states
        )
        wanted = {*self.ids}
        # A task may have the name of an instance of another task, such as task_0, so other tasks are left out.
        return {
            name: state
            for name, state in found.get(self.run_id, {}).items()
            if name not in self._others
            and any(_is_of(name, task_id, self._index_of(task_id)) for task_id in wanted & names_of([name]))
        }

    def wait_for_sends(self, timeout: float = FAILED_TASK_GRACE, sleep: Callable[[float], None] = time.sleep) -> None:
        """Wait until the send tasks among them have ended.

        Airflow calls a send failed while its process still sends, if a user stops it or if the run fails fast. A
        killed send never reports its end, so the wait has a timeout.

        :param timeout: Timeout in seconds; default 15.
        :param sleep: Function that sleeps for some seconds; default :func:`time.sleep`.
        """
        waited = 0.0
        while waited < timeout and any(is_sending(value) for value in self.pull(SENDING)):
            if not waited:
                log.info("A send was interrupted; waiting up to %.0f s for what it may still send.", timeout)
            sleep(1)
            waited += 1

    def _xcoms_of(self, task_id: str, states: Mapping[str, str | None]) -> _WorkerXComs:
        """Return the XComs of one of the tasks; ``states`` are those of its instances by name."""
        index = self._index_of(task_id)
        instances = 1 if index is not None else len(states)
        is_running = any(state not in ENDED for name, state in states.items() if _is_of(name, task_id, index))
        return _WorkerXComs(self, task_id, max(instances, 1), is_running, self.history is not None)

    def _index_of(self, task_id: str) -> int | None:
        return self._map_index if task_id in self._of_one_index else None


class _WorkerXComs(Struct):
    """XComs of one task, as a worker may read them."""

    tasks: Tasks
    task_id: str
    instances: int
    is_running: bool
    is_settled: bool
    #: Airflow resolves a value through the XCom backend before it returns it.
    hides_values: bool = False

    def pull(self, key: str) -> list[Any]:
        """Return the values of all instances under a key, without those that say nothing."""
        if (known := self._known(key)) is not None:
            return known
        try:
            return self.tasks.pull(key, [self.task_id])
        except Exception as error:
            if key != RETURN_VALUE or not _is_of_a_value(error):
                raise
            # The class of a return value may not be installed or allowed here, so the value is ignored.
            log.warning("Ignoring what task %s returned: it cannot be read (%s).", self.task_id, clean(error))
            return []

    def _known(self, key: str) -> list[Any] | None:
        """Return the values under a key that the history of the DAG tells; None if a look-up must tell."""
        history = self.tasks.history
        if history is None:
            return None
        if key == SENDING:
            return None if history.may_be_interrupted(self.task_id) else []
        if key == RETURN_VALUE:
            return None if history.may_return_receipts(self.task_id) else []
        return history.chunks(self.tasks.run_id, self.task_id, key)


def _is_of_a_value(error: Exception) -> bool:
    """Return True for an error of a value's class, not Airflow's."""
    from airflow.sdk.exceptions import AirflowRuntimeError

    # In dag.test() an error of the API server has the attribute response.
    return not isinstance(error, AirflowRuntimeError | OSError) and not hasattr(error, "response")


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────


def tasks_of_run(context: Context, dag_id: str, run_id: str, history: DagHistory | None = None) -> Tasks:
    """Return all tasks of a run that may have pushed XComs.

    :param history: Runs of the DAG, if they may answer for this run; default None.
    """
    ti: Any = context["ti"]
    if history is None:
        states = ti.get_task_states(dag_id=dag_id, task_ids=None, run_ids=[run_id]).get(run_id, {})
    else:
        states = history.states.get(run_id, {})
    is_plain = history is not None and not history.has_mapped(run_id)
    names = set(states) if is_plain else _possible_ids(ti, dag_id, run_id, states)
    return Tasks(context, sorted(names), dag_id=dag_id, run_id=run_id, history=history)


def _possible_ids(ti: Any, dag_id: str, run_id: str, states: Mapping[str, str | None]) -> set[str]:
    # Airflow 3.1 has no breadcrumbs, so only the names of the tasks are known there.
    crumbs = list(ti.get_task_breadcrumbs(dag_id, run_id)) if hasattr(ti, "get_task_breadcrumbs") else []
    done = {crumb["task_id"] for crumb in crumbs}
    # Other tasks have names only, and task_0 may be an instance of a mapped task, so both readings are kept. A
    # cleared task keeps its XComs until it runs again.
    begun = {name for name, state in states.items() if not crumbs or state not in ENDED}
    return done | begun | {_unmapped(name) for name in begun}


def runs_since(context: Context, history: DagHistory, since: float) -> list[str]:
    """List a DAG's runs that may have sent since a Unix time in seconds.

    It takes one request, and one more for each run.

    :raises InvalidInputError: If Airflow knows no such DAG.
    """
    history.read_states()
    if not history.states:
        check_dag(context, history.dag_id, "from_dag")
    log.info("Looking through %d runs of %s.", len(history.states), clean(history.dag_id))
    earliest = since - FAILED_TASK_GRACE
    runs = history.ask(sorted(history.states))
    return [run_id for run_id, run in runs if run is None or _may_have_sent(history, run, earliest)]


def _may_have_sent(history: DagHistory, run: Any, earliest: float) -> bool:
    states = set(history.states[run.run_id].values())
    # A run may have begun since the states were read. A cleared one keeps its XComs until its tasks begin again.
    if states <= NEVER_BEGUN and not run.clear_number and (run.state == "queued" or history.of(run.run_id)):
        return False
    return run.end_date is None or run.end_date.timestamp() >= earliest


def check_dag(context: Context, dag_id: str, field: str) -> None:
    """Raise an error, which names the argument ``field``, if Airflow does not know a DAG.

    :raises InvalidInputError: If there is no such DAG.
    """
    ti: Any = context["ti"]
    # To a worker an unknown DAG looks like a DAG without runs.
    if ti.get_dr_count(dag_id=dag_id):
        return
    try:
        # Before Airflow 3.2 a worker cannot read a DAG, so a DAG without a run is unknown there.
        is_known = bool(ti.get_dag(dag_id)) if hasattr(ti, "get_dag") else False
    except Exception as error:
        if not is_not_found(error):
            raise
        is_known = False
    if not is_known:
        problem = f"is {clean(dag_id)!r}; Airflow knows no DAG of this id that ever ran"
        raise InvalidInputError(field, problem, f"{clean(dag_id)!r} 不是 Airflow 中运行过的 DAG 的 ID")


def runs_not_rolled_back(context: Context, dag_id: str, rollbacks: Sequence[str]) -> list[str]:
    """List the runs of a DAG whose rollback has not succeeded.

    :raises InvalidInputError: If Airflow knows no such DAG, or none of its runs has one of these tasks.
    """
    ti: Any = context["ti"]
    found = ti.get_task_states(dag_id=dag_id, task_ids=list(rollbacks), run_ids=None)
    if not any(found.values()):
        check_dag(context, dag_id, "dag_ids")
        if ti.get_dr_count(dag_id=dag_id):
            ids, dag = list(rollbacks), clean(dag_id)
            problem = f"is {ids!r}; no run of {dag!r} has a task of such an id"
            raise InvalidInputError("rollbacks", problem, f"{dag!r} 的运行中没有 ID 为 {ids!r} 的任务")
    return sorted(run_id for run_id, states in found.items() if any(state != "success" for state in states.values()))


def run_ends(context: Context, history: DagHistory, run_ids: Iterable[str]) -> dict[str, float | None]:
    """Return the Unix times at which runs ended, of those that have ended; None before Airflow 3.2."""
    ends: dict[str, float | None] = {}
    for run_id, run in history.ask(run_ids):
        state = context["ti"].get_dagrun_state(history.dag_id, run_id) if run is None else run.state
        if state in FINISHED:
            ends[run_id] = run.end_date.timestamp() if run is not None and run.end_date is not None else None
    return ends


def indexes_not_rolled_back(
    context: Context, dag_id: str, run_id: str, rollback: str, history: DagHistory | None = None
) -> list[int | None]:
    """List the map indexes, or None, of a rollback's instances that did not succeed.

    :param history: Runs of the DAG, if they may answer for this run; default None.
    """
    states = Tasks(context, [rollback], dag_id=dag_id, run_id=run_id, history=history).states()
    names = [name for name, state in states.items() if state != "success"]
    return [None if name == rollback else int(name.removeprefix(f"{rollback}_")) for name in names]


# ── names of task instances ──────────────────────────────────────────────────────────────────────────


def task_names(context: Context, dag_id: str, run_id: str) -> set[str]:
    """Return the names of a run's tasks and of their mapped instances, begun or not."""
    states = context["ti"].get_task_states(dag_id=dag_id, task_ids=None, run_ids=[run_id]).get(run_id, {})
    return names_of(states)


def names_of(names: Iterable[str]) -> set[str]:
    """Return names of task instances, and of the tasks that they may be mapped instances of."""
    known = {*names}
    return known | {_unmapped(name) for name in known}


def _is_of(name: str, task_id: str, map_index: int | None) -> bool:
    """Return True if a state belongs to a task, or to one of its instances ``task_0``, ``task_1``, …"""
    if name == task_id:
        return True
    index = name.removeprefix(f"{task_id}_")
    return index != name and _is_index(index) and map_index in (None, int(index))


def _unmapped(name: str) -> str:
    head, _, index = name.rpartition("_")
    return head if head and _is_index(index) else name


def _is_index(text: str) -> bool:
    # A task id may end in a digit of another script, and int() does not accept every such digit.
    return text.isascii() and text.isdigit()


def _siblings(context: Context) -> frozenset[str]:
    """Return the ids of the tasks mapped together with this one."""
    if _map_index(context["ti"]) < 0:
        return frozenset()
    group = context["task"].get_closest_mapped_task_group()
    return frozenset(task.task_id for task in group.iter_tasks()) if group else frozenset()


def _map_index(ti: Any) -> int:
    """Return the running instance's map index; -1 if it is not mapped."""
    return -1 if ti.map_index is None else int(ti.map_index)
