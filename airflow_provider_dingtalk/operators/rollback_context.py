"""Context manager to recall a block's messages if one of its tasks fails."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from inspect import signature
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_dingtalk.operators.rollback import DingTalkRollbackOperator

if TYPE_CHECKING:
    from typing import Unpack

    from airflow.sdk import Context

    from airflow_provider_dingtalk.operators import arguments

#: Least number of retries of the rollback. A repeated recall does no harm, but a message left in a chat does.
RETRIES = 3
#: Arguments that even a user must not change, because the rollback would wait for the run before.
_FIXED: dict[str, Any] = {"depends_on_past": False, "wait_for_downstream": False, "trigger_rule": "all_success"}
#: Arguments that a DAG's ``default_args`` must not change; docs/rollback_arguments.md has the reasons.
_OURS: dict[str, Any] = {
    **_FIXED,
    **dict.fromkeys(("pool", "max_active_tis_per_dag", "max_active_tis_per_dagrun", "start_date", "end_date")),
    **dict.fromkeys(("execution_timeout", "pre_execute", "post_execute", "map_index_template", "inlets", "outlets")),
    **dict.fromkeys(("max_retry_delay", "retry_policy")),
    **dict.fromkeys(("wait_for_past_depends_before_skipping", "retry_exponential_backoff", "multiple_outputs"), False),
    "retry_delay": timedelta(seconds=30),
    "do_xcom_push": True,
    "pool_slots": 1,
    "weight_rule": "absolute",
    # Ahead of tasks that wait for a worker, because each minute more people read the messages.
    "priority_weight": 1000,
}
_ROLLBACK = {**_OURS, **dict.fromkeys(("receipts", "from_run", "from_dag", "since", "until")), "dry_run": False}
_HELPER = {
    **_OURS,
    **{f"on_{event}_callback": None for event in ("execute", "failure", "success", "retry", "skipped")},
    "email": None,
    "email_on_failure": False,
    "email_on_retry": False,
    "retries": 0,
}
#: Most characters of a task id in Airflow.
_MAX_ID = 250
#: Classes of tasks that cannot send.
_CANNOT_SEND = re.compile(r"EmptyOperator|DingTalk(Recall|Rollback|Sweep)\w*|\w+Sensor")
#: Arguments for the place of execution; the watcher runs where the rollback does.
_PLACE = ("pool", "queue", "executor", "executor_config", "run_as_user", "owner", "priority_weight", "weight_rule")


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
        from airflow_provider_dingtalk.language import choose
        from airflow_provider_dingtalk.task.run_history import Tasks
        from airflow_provider_dingtalk.version_compat import AirflowFailException

        if failed := Tasks(context, self.watched).failed():
            shown = ", ".join(failed[:5]) + (", …" if len(failed) > 5 else "")
            en, zh = "Failing the DAG run because these tasks failed", "DAG 运行记为失败，因为以下任务失败"
            raise AirflowFailException(choose(f"{en}: {shown}.", f"{zh}：{shown}。"))


def rollback_on_failure(
    *, task_id: str = "rollback", **options: Unpack[arguments.RollbackOptions]
) -> AbstractContextManager[DingTalkRollbackOperator]:
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
        docs/rollback_arguments.md.
    :returns: Context manager of the block, which gives the task of the rollback.
    :raises InvalidInputError: If there is no DAG around the block, no task in it, or an option that the block sets
        itself.
    """
    if own := sorted(options.keys() & {"from_tasks", "only_if_failed"}):
        raise _problem(f"takes no {own[0]}: it is about the tasks of its block")
    rollback = _rollback(task_id, options)
    if not rollback.has_dag():  # type: ignore[no-untyped-call]
        raise _problem("must stand inside a DAG")
    # If the user writes no "with", nothing below runs, and the task reports it.
    rollback.lacks_block = True
    return _block(rollback, options)


@contextmanager
def _block(rollback: DingTalkRollbackOperator, options: Mapping[str, Any]) -> Iterator[DingTalkRollbackOperator]:
    before = set(rollback.dag.task_dict)
    yield rollback
    _wire(rollback, [task for name, task in rollback.dag.task_dict.items() if name not in before], options)
    rollback.lacks_block = False


def _rollback(task_id: str, options: Mapping[str, Any]) -> DingTalkRollbackOperator:
    # An argument that this Airflow lacks is left out, unless the user gave it.
    known = signature(DingTalkRollbackOperator).parameters.keys() | options.keys()
    arguments = {name: value for name, value in {**_ROLLBACK, **options, **_FIXED}.items() if name in known}
    try:
        # The tasks of the block are not known yet.
        rollback = DingTalkRollbackOperator(task_id=task_id, from_tasks=(), only_if_failed=True, **arguments)
    except Exception as error:
        # The name's place differs between versions of Airflow.
        if type(error).__name__ != "DuplicateTaskIdFound":
            raise
        raise _problem(f"has the id {task_id!r} of another task here; give task_id=, e.g. {task_id}_2") from None
    if "retries" not in options:
        rollback.retries = max(rollback.retries or 0, RETRIES)
    return rollback


def _wire(rollback: DingTalkRollbackOperator, block: Sequence[Any], options: Mapping[str, Any]) -> None:
    """Make the rollback a teardown with an edge from every task."""
    if not block:
        raise _problem("has no task: those made before the block, or outside of it, do not belong to it")
    if all(_CANNOT_SEND.fullmatch(task.task_type) for task in block):
        raise _problem("has no task that sends: put the sends inside of the block")
    # Airflow ignores the result of a teardown that may fail, so the watcher does too.
    watched = [task.task_id for task in block if not task.is_teardown or task.on_failure_fail_dagrun]
    rollback.from_tasks = [
        task.task_id for task in block if not isinstance(task, (_RunWatcher, DingTalkRollbackOperator))
    ]
    rollback.only_if_failed = watched or True
    for task in block:
        _restore_on_retry(task)
    # Direct edges, because a task downstream of a failed one is "done" at once, while a parallel send still runs.
    rollback.as_teardown()
    rollback.set_upstream(list(_edges(block, rollback)))
    watcher = _RunWatcher(task_id=_id_beside(rollback, "watcher"), watched=watched, **_helper(options))
    rollback.set_downstream(watcher.as_teardown(on_failure_fail_dagrun=True))


def _helper(options: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """Return arguments of a task that does not wait or alert, and runs where the rollback does."""
    known = signature(BaseOperator.__init__).parameters
    place = {name: options[name] for name in _PLACE if name in options}
    return {name: value for name, value in {**_HELPER, **place}.items() if name in known}


def _restore_on_retry(task: Any) -> None:
    """Make each retry of a task push the receipts of its earlier tries."""
    name = "on_execute_callback"
    if isinstance(task, BaseOperator):
        setattr(task, name, [*_as_list(getattr(task, name)), _restore])
    else:
        task.partial_kwargs[name] = [*_as_list(task.partial_kwargs.get(name)), _restore]


def _as_list(callbacks: Any) -> list[Any]:
    return list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks] if callbacks else []


def _restore(context: Context) -> None:
    """Push the receipts of earlier tries; Airflow deletes the XComs of a task when a try starts."""
    ti: Any = context["ti"]
    if ti.try_number > 1:
        from airflow_provider_dingtalk.task.running_registry import registry_of

        registry_of(context).restore()


def _edges(block: Sequence[Any], rollback: DingTalkRollbackOperator) -> Iterator[Any]:
    """Yield the tasks upstream of the rollback."""
    ids = {task.task_id for task in block if not task.is_teardown}
    for task in block:
        if not (task.is_setup or task.inherits_from_skipmixin):
            yield task
        elif not task.downstream_task_ids & ids:
            # A branch skips tasks directly downstream that it did not choose, so an empty task is skipped instead. A
            # teardown does not run if a setup directly upstream fails.
            from airflow.providers.standard.operators.empty import EmptyOperator

            between = EmptyOperator(task_id=_id_beside(rollback, f"after_{task.label}", task.task_id), **_helper())
            between.set_upstream(task)
            yield between


def _id_beside(rollback: DingTalkRollbackOperator, name: str, unique: str = "") -> str:
    """Return the id of a task beside the rollback; a hash of ``unique`` is in it if Airflow refuses the plain one."""
    label = str(rollback.label)
    group, plain = rollback.task_id.removesuffix(label), f"{label}_{name}"
    if len(group + plain) <= _MAX_ID and group + plain not in rollback.dag.task_dict:
        return plain
    digest = hashlib.sha256(f"{rollback.task_id} {unique}".encode()).hexdigest()[:12]
    return f"{plain[: max(_MAX_ID - len(group) - 13, 0)]}_{digest}"


def _problem(problem: str) -> Exception:
    from airflow_provider_dingtalk.exceptions import InvalidInputError

    return InvalidInputError("rollback_on_failure", problem)
