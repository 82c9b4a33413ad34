"""Context manager to recall a block's messages if one task fails.

Heavy modules are imported inside methods, because the dag-processor imports this file for every DAG file.

The rollback follows the DAG's ``default_args`` unless that would leave messages in the chats. The watcher, and the
empty task behind a branch, take only their place of execution from them. Arguments of :func:`rollback_on_failure`
always count, except for ``depends_on_past``, ``wait_for_downstream`` and ``trigger_rule``. Each line of this list
names arguments; then the value for the rollback; then that for the watcher; then the reason.

- ``dingtalk_conn_id``, ``fail_on``, ``on_empty``, guards: follows; not there; the DAG's sends follow them too.
- ``receipts``, ``from_run``, ``from_dag``, ``since``, ``until``, ``dry_run``: ignored; not there; the rollback of
  a block recalls the messages of its block.
- ``owner``, ``queue``, ``executor``, ``executor_config``, ``run_as_user``, ``resources``: follows; follows; the
  DAG's file or the network may be missing elsewhere.
- ``retries``: 3 at least; 0; a recall may be repeated, and the watcher only reads states.
- ``retry_delay``, ``retry_exponential_backoff``, ``max_retry_delay``, ``retry_policy``: 30 s, none; none; with a
  delay of an hour the messages stay in the chats for an hour.
- ``on_*_callback``, ``email``, ``email_on_*``: follows; none; a failed rollback needs an alert, but the watcher
  fails after a task that has alerted already.
- ``execution_timeout``: none; none; a timeout for small tasks would interrupt a recall of thousands of messages.
- ``pool``, ``pool_slots``: default pool, 1; the rollback's; a small pool may be full of the tasks that send.
- ``weight_rule``, ``priority_weight``: absolute, 1000; the same; it goes ahead of tasks that wait for a worker.
- ``max_active_tis_per_dag``, ``max_active_tis_per_dagrun``: none; none; the rollback of another run may be slow.
- ``depends_on_past``, ``wait_for_downstream``, ``wait_for_past_depends_before_skipping``: off; off; the messages
  of a run do not depend on the run before.
- ``start_date``, ``end_date``: the DAG's; the DAG's; Airflow does not run a task outside of them.
- ``trigger_rule``: that of a teardown; the same; it runs however the block ended.
- ``pre_execute``, ``post_execute``, ``inlets``, ``map_index_template``: none; none; each can fail the task.
- ``outlets``: the rollback log; none; a rollback does not make the data that the DAG makes.
- ``do_xcom_push``, ``multiple_outputs``: on, off; the same; the report is the result.
- All others (``params``, ``doc``, ``task_display_name``, ``logger_name``): follows; follows; no harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from inspect import signature
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_dingtalk.operators.base import RecallOperator
from airflow_provider_dingtalk.operators.rollback import DingTalkRollbackOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Retries of the rollback and their delay. A repeated recall does no harm, but a message left in a chat does.
RETRIES, RETRY_DELAY = 3, timedelta(seconds=30)
#: Priority ahead of tasks that wait for a worker, because each minute more people read the messages.
PRIORITY = 1000
#: Switched-off waits for the run before, which would leave messages in the chats.
FREE = {"depends_on_past": False, "wait_for_downstream": False}
#: Arguments that a DAG's ``default_args`` must not set; see this module's docstring.
NEVER_WAIT: dict[str, Any] = {
    **FREE,
    "wait_for_past_depends_before_skipping": False,
    "pool": None,
    "pool_slots": 1,
    "max_active_tis_per_dag": None,
    "max_active_tis_per_dagrun": None,
    "start_date": None,
    "end_date": None,
    "weight_rule": "absolute",
    "priority_weight": PRIORITY,
    "trigger_rule": "all_success",
}
NEVER_CUT_OFF: dict[str, Any] = {
    "execution_timeout": None,
    "pre_execute": None,
    "post_execute": None,
    "map_index_template": None,
    "inlets": None,
}
RETRY_SOON: dict[str, Any] = {
    "retry_delay": RETRY_DELAY,
    "retry_exponential_backoff": False,
    "max_retry_delay": None,
    "retry_policy": None,
}
SAY_ONLY_OURS: dict[str, Any] = {"do_xcom_push": True, "multiple_outputs": False, "outlets": None}
ONLY_THE_BLOCK: dict[str, Any] = {
    **dict.fromkeys(("receipts", "from_run", "from_dag", "since", "until")),
    "dry_run": False,
}
SILENT: dict[str, Any] = {
    **dict.fromkeys(
        (
            "on_execute_callback",
            "on_failure_callback",
            "on_success_callback",
            "on_retry_callback",
            "on_skipped_callback",
            "email",
        )
    ),
    "email_on_failure": False,
    "email_on_retry": False,
}
ROLLBACK = {**NEVER_WAIT, **NEVER_CUT_OFF, **RETRY_SOON, **SAY_ONLY_OURS, **ONLY_THE_BLOCK}
HELPER = {**NEVER_WAIT, **NEVER_CUT_OFF, **RETRY_SOON, **SAY_ONLY_OURS, **SILENT, "retries": 0}
#: Arguments for the place of execution; the watcher runs where the rollback does.
WHERE = ("pool", "queue", "executor", "executor_config", "run_as_user", "owner", "priority_weight", "weight_rule")


class _RunWatcher(BaseOperator):
    """Task that fails the run if one of the watched tasks failed.

    If a user marks a run as failed, or if it fails fast, Airflow skips the tasks that have not begun. If the run's
    state depends on such a task, the run ends as a success although another task failed.

    :param watched: Ids of the tasks.
    """

    def __init__(self, *, watched: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.watched = watched

    def execute(self, context: Context) -> None:
        """Fail the task if a watched task failed."""
        from airflow_provider_dingtalk.task.run_history import Tasks
        from airflow_provider_dingtalk.version_compat import AirflowFailException

        if failed := Tasks(context, self.watched).failed():
            shown = ", ".join(failed[:5]) + (", …" if len(failed) > 5 else "")
            raise AirflowFailException(f"Failing the DAG run because these tasks failed: {shown}.")


@contextmanager
def rollback_on_failure(*, task_id: str = "rollback", **options: Any) -> Iterator[DingTalkRollbackOperator]:
    """Recall every message that this block's tasks sent, if one fails.

    Use it around the tasks::

        with rollback_on_failure():
            send = DingTalkSendGroupMessageOperator(task_id="send", …)
            send >> check()

    It makes a task that runs when all tasks of the block have ended, also if a send failed half-way or a worker
    was killed. If no task failed, it recalls nothing. It writes its result into the DAG's rollback log; see
    :mod:`airflow_provider_dingtalk.task.asset_events`. A second task, its watcher, fails the run if a task of the
    block failed, where Airflow would call the run a success.

    The block may hold tasks, task groups, mapped tasks and branches, in a DAG or in a task group. In a mapped task
    group each instance recalls its own messages.

    :param task_id: Id of the rollback task; default ``rollback``. Blocks of one DAG or task group need distinct
        ids.
    :param options: Further arguments of :class:`DingTalkRollbackOperator`, such as ``dingtalk_conn_id``, or of
        Airflow's operators. Others are taken from the DAG's ``default_args`` unless that does harm; see
        :mod:`airflow_provider_dingtalk.operators.rollback_context`.
    :returns: Task of the rollback.
    :raises InvalidInputError: If there is no DAG around the block, no task in it, or an option that the block sets
        itself.
    """
    if own := sorted(options.keys() & {"from_tasks", "only_if_failed"}):
        raise _problem(f"takes no {own[0]}: it is about the tasks of its block")
    rollback = _rollback(task_id, options)
    if not rollback.has_dag():  # type: ignore[no-untyped-call]
        raise _problem("must stand inside a DAG")
    before = set(rollback.dag.task_dict)
    yield rollback
    _wire(rollback, [task for name, task in rollback.dag.task_dict.items() if name not in before], options)


def _rollback(task_id: str, options: Mapping[str, Any]) -> DingTalkRollbackOperator:
    rollback = DingTalkRollbackOperator(
        task_id=task_id,
        from_tasks=None,
        only_if_failed=True,
        **_known({**ROLLBACK, **options, **FREE, "trigger_rule": "all_success"}, options),
    )
    if "retries" not in options:
        rollback.retries = max(rollback.retries or 0, RETRIES)
    return rollback


def _known(arguments: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out arguments that this Airflow lacks, unless a user gave them."""
    known = _parameters(BaseOperator) | _parameters(RecallOperator) | _parameters(DingTalkRollbackOperator)
    return {name: value for name, value in arguments.items() if name in known or name in given}


def _parameters(operator: type[BaseOperator]) -> set[str]:
    return set(signature(operator.__init__).parameters)


def _wire(rollback: DingTalkRollbackOperator, block: Sequence[Any], options: Mapping[str, Any]) -> None:
    """Make the rollback a teardown with an edge from every task.

    It has no setup. The edges are direct, because a task downstream of a failed one is "done" at once, while a
    parallel send still runs.
    """
    if not block:
        raise _problem("has no task: those made before the block, or outside of it, do not belong to it")
    # Airflow ignores the result of a teardown that may fail, so the watcher does too.
    watched = [task.task_id for task in block if not task.is_teardown or task.on_failure_fail_dagrun]
    rollback.from_tasks = [task.task_id for task in block if not task.is_teardown]
    rollback.only_if_failed = watched
    for task in block:
        _remember(task)
    rollback.as_teardown()
    rollback.set_upstream(list(_edges(block, rollback)))
    watcher = _RunWatcher(task_id=f"{rollback.label}_watcher", watched=watched, **_helper(options))
    rollback.set_downstream(watcher.as_teardown(on_failure_fail_dagrun=True))


def _helper(options: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """Return arguments of a task that does not wait or alert.

    It runs where the rollback does.
    """
    known = _parameters(BaseOperator)
    where = {name: options[name] for name in WHERE if name in options}
    return {name: value for name, value in {**HELPER, **where}.items() if name in known}


def _remember(task: Any) -> None:
    """Make each retry of a task register its earlier tries' receipts."""
    if isinstance(task, BaseOperator):
        task.on_execute_callback = [*_listed(task.on_execute_callback), _register_again]
    else:
        callbacks = _listed(task.partial_kwargs.get("on_execute_callback"))
        task.partial_kwargs["on_execute_callback"] = [*callbacks, _register_again]


def _listed(callbacks: Any) -> list[Any]:
    return list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks] if callbacks else []


def _register_again(context: Context) -> None:
    """Push the receipts of earlier tries.

    Airflow deletes the XComs of a task when a try starts.
    """
    ti: Any = context["ti"]
    if ti.try_number > 1:
        from airflow_provider_dingtalk.task.running_task import registry_of

        registry_of(context).restore()


def _edges(block: Sequence[Any], rollback: DingTalkRollbackOperator) -> Iterator[Any]:
    """Yield the tasks upstream of the rollback."""
    ids = {task.task_id for task in block if not task.is_teardown}
    for task in block:
        if task.is_setup:
            # A teardown does not run if a setup directly upstream fails, so setups get no edge.
            continue
        if not task.inherits_from_skipmixin:
            yield task
        elif not task.downstream_task_ids & ids:
            # A branch skips tasks directly downstream that it did not choose, so an empty task is skipped instead.
            yield _between(task, rollback)


def _between(task: Any, rollback: DingTalkRollbackOperator) -> Any:
    from airflow.providers.standard.operators.empty import EmptyOperator

    between = EmptyOperator(task_id=f"{rollback.label}_after_{task.label}", **_helper())
    between.set_upstream(task)
    return between


def _problem(problem: str) -> Exception:
    from airflow_provider_dingtalk.exceptions import InvalidInputError

    return InvalidInputError("rollback_on_failure", problem)
