"""The one line: take back what a block of tasks sent, if one of them fails.

Everything heavy is imported inside methods: the dag-processor imports this file for every DAG file it parses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_dingtalk.operators.base import SendOperator
from airflow_provider_dingtalk.operators.rollback import DingTalkRollbackOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

#: A recall may be repeated without harm, and what stays in a chat does harm.
RETRIES, RETRY_DELAY = 3, timedelta(seconds=30)
#: Airflow's ways of making a task wait for the run before would leave messages where they are.
FREE = {"depends_on_past": False, "wait_for_downstream": False}


class _RunWatcher(BaseOperator):
    """Fails if one of some tasks failed: so the run fails.

    Of a run that a user marks as failed, or that fails fast, Airflow skips what has not begun. If that is what the
    run's state hangs on, the run ends as a success, although something in the middle failed.

    :param watched: Ids of the tasks.
    """

    def __init__(self, *, watched: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.watched = watched

    def execute(self, context: Context) -> None:
        """Look."""
        from airflow_provider_dingtalk.runs import Tasks
        from airflow_provider_dingtalk.version_compat import AirflowFailException

        if failed := Tasks(context, self.watched).failed():
            shown = ", ".join(failed[:5]) + (", …" if len(failed) > 5 else "")
            raise AirflowFailException(f"So that the run fails, for this did: {shown}.")


@contextmanager
def rollback_on_failure(
    *, dingtalk_conn_id: str = "dingtalk_default", task_id: str = "rollback", **options: Any
) -> Iterator[DingTalkRollbackOperator]:
    """Take back every message that the tasks of this block sent, if one of them fails::

        with rollback_on_failure():
            send = DingTalkSendGroupMessageOperator(task_id="send", …)
            send >> check()

    It makes a task that runs when all tasks of the block are done, however they ended: also when a send failed
    half-way or a worker was killed. If nothing failed it takes nothing back. What it did stands in the DAG's
    rollback log; see :mod:`airflow_provider_dingtalk.rollback_log`. A second task fails the run if something in
    the block failed, where Airflow would call the run a success.

    Put it around tasks, task groups, mapped tasks and branches, in a DAG or in a task group; in a mapped task
    group each instance takes back its own.

    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``.
    :param task_id: Of the rollback; two blocks of one DAG, or of one task group, need two.
    :param options: More arguments of :class:`DingTalkRollbackOperator`, and any of Airflow's. Unless given,
        there are 3 ``retries``, 30 s apart; ``depends_on_past`` and ``wait_for_downstream`` stay off.
    :returns: The rollback's task.
    :raises InvalidInputError: There is no DAG around the block, no task was made in it, or an option says what the
        block finds out by itself.
    """
    if own := sorted(options.keys() & {"from_tasks", "only_if_failed"}):
        raise _problem(f"takes no {own[0]}: it is about the tasks of its block")
    rollback = DingTalkRollbackOperator(
        task_id=task_id,
        dingtalk_conn_id=dingtalk_conn_id,
        from_tasks=None,
        only_if_failed=True,
        **{"retries": RETRIES, "retry_delay": RETRY_DELAY, **options, **FREE},
    )
    if not rollback.has_dag():  # type: ignore[no-untyped-call]
        raise _problem("must stand inside a DAG")
    before = set(rollback.dag.task_dict)
    yield rollback
    _wire(rollback, [task for name, task in rollback.dag.task_dict.items() if name not in before])


def _wire(rollback: DingTalkRollbackOperator, block: Sequence[Any]) -> None:
    """Make a teardown without a setup of it, with a direct edge from every task.

    Direct, because a task downstream of a failed one is "done" at once, while a send beside it still runs.
    """
    if not block:
        raise _problem("has no task: those made before the block, or outside of it, do not belong to it")
    # Airflow ignores how a cleanup of somebody's ended, and so do we.
    watched = [task.task_id for task in block if not task.is_teardown or task.on_failure_fail_dagrun]
    rollback.from_tasks = [task.task_id for task in block if not task.is_teardown]
    rollback.only_if_failed = watched
    for task in block:
        _tell(task, rollback.task_id)
    rollback.as_teardown()
    rollback.set_upstream(list(_edges(block, rollback)))
    watcher = _RunWatcher(task_id=f"{rollback.label}_watcher", watched=watched, retries=0, **FREE)
    rollback.set_downstream(watcher.as_teardown(on_failure_fail_dagrun=True))


def _tell(task: Any, rollback_id: str) -> None:
    """Let a send know who takes back what it sends."""
    if not issubclass(getattr(task, "operator_class", type(task)), SendOperator):
        return
    if isinstance(task, SendOperator):
        task.rollbacks = [*task.rollbacks, rollback_id]
    else:
        task.partial_kwargs["rollbacks"] = [*task.partial_kwargs.get("rollbacks", ()), rollback_id]


def _edges(block: Sequence[Any], rollback: DingTalkRollbackOperator) -> Iterator[Any]:
    """The tasks that the rollback hangs on."""
    ids = {task.task_id for task in block if not task.is_teardown}
    for task in block:
        if task.is_setup:
            # A teardown does not run if a setup right above it fails.
            continue
        if not task.inherits_from_skipmixin:
            yield task
        elif not task.downstream_task_ids & ids:
            # A branch skips what is right below it and not chosen. What lies between is skipped in our place.
            yield _between(task, rollback)


def _between(task: Any, rollback: DingTalkRollbackOperator) -> Any:
    from airflow.providers.standard.operators.empty import EmptyOperator

    between = EmptyOperator(task_id=f"{rollback.label}_after_{task.label}")
    between.set_upstream(task)
    return between


def _problem(problem: str) -> Exception:
    from airflow_provider_dingtalk.api.errors import InvalidInputError

    return InvalidInputError("rollback_on_failure", problem)
