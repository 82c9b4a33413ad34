"""Take back what a run sent: an operator for any mixture of messages, and the one line that wires it.

Everything heavy is imported inside methods: the dag-processor imports this file for every DAG file it parses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_dingtalk.operators.recall import BaseRecallOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_dingtalk.messaging.receipts import Receipt

#: A recall may be repeated without harm, and what stays in a chat does harm.
RETRIES, RETRY_DELAY = 3, timedelta(seconds=30)


class DingTalkRollbackOperator(BaseRecallOperator):
    """Take back any mixture of messages.

    For the rollback of a run there is one line: :func:`rollback_on_failure`.
    By hand, make it a teardown without a setup, with direct edges from every task that sends or works: it then
    runs whatever happened, and the run stays failed::

        rollback = DingTalkRollbackOperator(task_id="rollback", from_tasks=["send"], only_if_failed=True)
        send >> check
        [send, check] >> rollback.as_teardown()

    :param receipts: Receipts, lists of them, nested as mapped tasks nest them; ``None`` is dropped. (templated)
    :param from_tasks: Id of a send task of the same run, or a list of them: their receipts are found even if a
        task failed or was killed half-way. (templated)
    :param only_if_failed: Skip unless a task upstream failed; or, given ids of tasks, unless one of these did.
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``.
    :param fail_on: Fail the task if a message ends in one of these classes: ``failed``, ``expired``, ``unknown``.
    :param on_empty: With nothing to recall: ``succeed``, ``skip`` or ``fail``.
    """

    template_fields: Sequence[str] = ("receipts", "from_tasks")

    def __init__(
        self,
        *,
        from_tasks: Sequence[str] | str | None = None,
        only_if_failed: bool | Sequence[str] = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.from_tasks = from_tasks
        self.only_if_failed = only_if_failed

    def _messages(self, hook: Any, context: Context) -> list[Receipt]:
        from airflow_provider_dingtalk.compat import AirflowSkipException

        from airflow_provider_dingtalk import execution, runs
        from airflow_provider_dingtalk.messaging.receipts import parse_receipts

        if self.only_if_failed and not runs.has_failed(context, self._watched()):
            raise AirflowSkipException("Nothing failed: the messages stay.")
        from_tasks = execution.parse_task_ids(self.from_tasks, "from_tasks")
        pushed = runs.receipts_in_xcom(context, from_tasks) if from_tasks else []
        return parse_receipts(self.receipts) + parse_receipts(pushed)

    def _watched(self) -> list[str]:
        """Ids of the tasks of which one must have failed."""
        if isinstance(self.only_if_failed, bool):
            return sorted(self.get_flat_relative_ids(upstream=True))
        return list(self.only_if_failed)


@contextmanager
def rollback_on_failure(
    *, dingtalk_conn_id: str = "dingtalk_default", task_id: str = "rollback", **options: Any
) -> Iterator[DingTalkRollbackOperator]:
    """Take back every message that the tasks of this block sent, if one of them fails::

        with rollback_on_failure():
            send = DingTalkSendGroupMessageOperator(task_id="send", …)
            send >> check()

    It makes one task more, which runs when all tasks of the block are done, however they ended: also when a
    send failed half-way or a worker was killed. If nothing failed it is skipped; the state of the run is never
    its business. Put it around tasks, task groups, mapped tasks and branches, in a DAG or in a task group; in a
    mapped task group each instance takes back its own.

    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``.
    :param task_id: Of the rollback; two blocks of one DAG, or of one task group, need two.
    :param options: More arguments of :class:`DingTalkRollbackOperator`, and any of Airflow's. Unless given,
        there are 3 ``retries``, 30 s apart.
    :returns: The rollback's task.
    :raises InvalidInputError: There is no DAG around the block, or no task was made in it.
    """
    # Airflow's way of making a task depend on its run before would leave messages where they are.
    free = {"depends_on_past": False, "wait_for_downstream": False}
    rollback = DingTalkRollbackOperator(
        task_id=task_id,
        dingtalk_conn_id=dingtalk_conn_id,
        from_tasks=None,
        only_if_failed=True,
        **{"retries": RETRIES, "retry_delay": RETRY_DELAY, **options, **free},
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
    rollback.as_teardown()
    rollback.set_upstream(list(_edges(block, rollback)))


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
