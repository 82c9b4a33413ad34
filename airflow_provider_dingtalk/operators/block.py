"""Take back what a block of tasks sent, if one of them fails: one line in a DAG.

Everything heavy is imported inside methods: the dag-processor imports this file for every DAG file it parses.

The rollback follows the DAG's ``default_args`` where that helps, and not where it would leave messages in the
chats. The watcher, and the empty task behind a branch, take only the place where they run from them. Arguments of
:func:`rollback_on_failure` itself always count, but for ``depends_on_past``, ``wait_for_downstream`` and
``trigger_rule``. For each argument: the rollback; the watcher; the reason.

- ``dingtalk_conn_id``, ``fail_on``, ``on_empty``, guards: follows; not there; the DAG's sends follow them too.
- ``receipts``, ``from_run``, ``from_dag``, ``since``, ``until``, ``dry_run``: ignored; not there; a block's
  rollback is about its block, and in earnest.
- ``owner``, ``queue``, ``executor``, ``executor_config``, ``run_as_user``, ``resources``: follows; follows; the
  DAG's file or the network may be missing elsewhere.
- ``retries``: 3 at least; 0; a recall may be repeated, the watcher only looks.
- ``retry_delay``, ``retry_exponential_backoff``, ``max_retry_delay``, ``retry_policy``: 30 s, none; none; a
  delay of an hour is an hour in the chats.
- ``on_*_callback``, ``email``, ``email_on_*``: follows; none; a rollback that fails is news, the watcher fails
  after a task that has alerted already.
- ``execution_timeout``: none; none; one that fits small tasks cuts off a recall of thousands of messages.
- ``pool``, ``pool_slots``: default pool, 1; the rollback's; a small pool may be full of the tasks that send.
- ``weight_rule``, ``priority_weight``: absolute, 1000; the same; it goes ahead of tasks that wait for a worker.
- ``max_active_tis_per_dag``, ``max_active_tis_per_dagrun``: none; none; the rollback of another run may be slow.
- ``depends_on_past``, ``wait_for_downstream``, ``wait_for_past_depends_before_skipping``: off; off; the run
  before has nothing to do with it.
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

#: A recall may be repeated without harm, and what stays in a chat does harm.
RETRIES, RETRY_DELAY = 3, timedelta(seconds=30)
#: Ahead of tasks that wait for a worker: each minute more people read what is to be recalled.
PRIORITY = 1000
#: Airflow's ways of making a task wait for the run before would leave messages where they are.
FREE = {"depends_on_past": False, "wait_for_downstream": False}
#: Arguments that a DAG's ``default_args`` must not decide; see this module's text.
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
#: Where a task runs; the watcher runs where the rollback does.
WHERE = ("pool", "queue", "executor", "executor_config", "run_as_user", "owner", "priority_weight", "weight_rule")


class _RunWatcher(BaseOperator):
    """Task that fails the run if one of some tasks failed.

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
            raise AirflowFailException(f"Failing the DAG run because these tasks failed: {shown}.")


@contextmanager
def rollback_on_failure(*, task_id: str = "rollback", **options: Any) -> Iterator[DingTalkRollbackOperator]:
    """Take back every message that the tasks of this block sent, if one of them fails::

        with rollback_on_failure():
            send = DingTalkSendGroupMessageOperator(task_id="send", …)
            send >> check()

    It makes a task that runs when all tasks of the block are done, however they ended: also when a send failed
    half-way or a worker was killed. If nothing failed it takes nothing back. What it did stands in the DAG's
    rollback log; see :mod:`airflow_provider_dingtalk.rollback_log`. A second task, its watcher, fails the run if
    something in the block failed, where Airflow would call the run a success.

    Put it around tasks, task groups, mapped tasks and branches, in a DAG or in a task group; in a mapped task
    group each instance takes back its own.

    :param task_id: Of the rollback; two blocks of one DAG, or of one task group, need two.
    :param options: More arguments of :class:`DingTalkRollbackOperator`, ``dingtalk_conn_id`` for instance, and any
        of Airflow's. What is not given comes from the DAG's ``default_args`` where that helps; see
        :mod:`airflow_provider_dingtalk.operators.block`.
    :returns: The rollback's task.
    :raises InvalidInputError: If there is no DAG around the block, no task in it, or an option says what the block
        finds out by itself.
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
    """Leave out arguments of newer versions of Airflow, unless the user gave them."""
    known = _parameters(BaseOperator) | _parameters(RecallOperator) | _parameters(DingTalkRollbackOperator)
    return {name: value for name, value in arguments.items() if name in known or name in given}


def _parameters(operator: type[BaseOperator]) -> set[str]:
    return set(signature(operator.__init__).parameters)


def _wire(rollback: DingTalkRollbackOperator, block: Sequence[Any], options: Mapping[str, Any]) -> None:
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
        _remember(task)
    rollback.as_teardown()
    rollback.set_upstream(list(_edges(block, rollback)))
    watcher = _RunWatcher(task_id=f"{rollback.label}_watcher", watched=watched, **_helper(options))
    rollback.set_downstream(watcher.as_teardown(on_failure_fail_dagrun=True))


def _helper(options: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """Arguments of a task that neither waits nor alerts, and runs where the rollback does."""
    known = _parameters(BaseOperator)
    where = {name: options[name] for name in WHERE if name in options}
    return {name: value for name, value in {**HELPER, **where}.items() if name in known}


def _remember(task: Any) -> None:
    """Have a retry of a task register again what its earlier tries sent."""
    if isinstance(task, BaseOperator):
        task.on_execute_callback = [*_listed(task.on_execute_callback), _register_again]
    else:
        callbacks = _listed(task.partial_kwargs.get("on_execute_callback"))
        task.partial_kwargs["on_execute_callback"] = [*callbacks, _register_again]


def _listed(callbacks: Any) -> list[Any]:
    return list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks] if callbacks else []


def _register_again(context: Context) -> None:
    """Push the receipts of earlier tries: Airflow deletes their XComs when a try starts."""
    ti: Any = context["ti"]
    if ti.try_number > 1:
        from airflow_provider_dingtalk.task.running_task import registry_of

        registry_of(context).restore()


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

    between = EmptyOperator(task_id=f"{rollback.label}_after_{task.label}", **_helper())
    between.set_upstream(task)
    return between


def _problem(problem: str) -> Exception:
    from airflow_provider_dingtalk.api.errors import InvalidInputError

    return InvalidInputError("rollback_on_failure", problem)
