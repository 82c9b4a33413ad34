"""Take back what a run sent: an operator for any mixture of messages, and the one line that wires it.

Everything heavy is imported inside methods: the dag-processor imports this file for every DAG file it parses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from airflow_provider_dingtalk.operators.recall import _RecallOperator
from airflow_provider_dingtalk.operators.send import _SendOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_dingtalk.guards import Guards
    from airflow_provider_dingtalk.messaging.receipts import Receipt
    from airflow_provider_dingtalk.selection import Found

#: A recall may be repeated without harm, and what stays in a chat does harm.
RETRIES, RETRY_DELAY = 3, timedelta(seconds=30)
#: Airflow's ways of making a task wait for the run before would leave messages where they are.
FREE = {"depends_on_past": False, "wait_for_downstream": False}


class DingTalkRollbackOperator(_RecallOperator):
    """Take back any mixture of messages: by receipts, of tasks, of a whole run, or of a time.

    For the rollback of a run there is one line: :func:`rollback_on_failure`. By hand, make it a teardown without a
    setup, with direct edges from every task that sends or works: it then runs whatever happened::

        rollback = DingTalkRollbackOperator(task_id="rollback", from_tasks=["send"], only_if_failed=True)
        send >> check
        [send, check] >> rollback.as_teardown()

    Messages that a rollback has taken back already are left out; what is too old is listed as ``expired``.

    :param receipts: Receipts, lists of them, nested as mapped tasks nest them; ``None`` is dropped. (templated)
    :param from_tasks: Id of a send task, or a list of them: their receipts are found even if a task failed or was
        killed half-way. Of this run, unless ``from_run`` names another one. (templated)
    :param from_run: Id of a run, or a list of them: everything it sent. (templated)
    :param from_dag: Id of the DAG of ``from_run`` or ``since``; by default this one. (templated)
    :param since: Everything that all runs of the DAG sent since this moment: ISO 8601. Found are runs with a
        rollback task. (templated)
    :param until: With ``since``: up to this moment. (templated)
    :param rollbacks: Ids of the rollback tasks of ``from_dag``; for ``since``.
    :param only_if_failed: Recall nothing unless a task upstream failed; or, given ids, unless one of these did.
    :param dry_run: Recall nothing; the XCom ``plan`` says what would be recalled. (templated)
    :param max_messages: Recall nothing, and fail, if there are more. (templated)
    :param only_unread: Leave messages that somebody has read, and those of which nobody can say. Costs a call for
        each message, or more; the report says how many, as ``readers_api_calls``. (templated)
    :param max_readers: The same for messages that more people have read. (templated)
    :param older_than: Leave messages that are younger: a ``timedelta``, or seconds. (templated)
    :param newer_than: Leave messages that are older. (templated)
    :param with_readers: Keep who had read the messages: user ids by message in the report, all of them in the XCom
        ``readers``, fit to be the ``user_ids`` of a correction. Costs calls as ``only_unread``. (templated)
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``.
    :param fail_on: Fail the task if a message ends in one of these classes: ``failed``, ``expired``, ``unknown``.
    :param on_empty: With nothing to recall: ``succeed``, ``skip`` or ``fail``.
    """

    template_fields: Sequence[str] = (
        "receipts",
        "from_tasks",
        "from_run",
        "from_dag",
        "since",
        "until",
        "dry_run",
        "max_messages",
        "only_unread",
        "max_readers",
        "older_than",
        "newer_than",
        "with_readers",
    )
    _is_sweep: ClassVar[bool] = False

    def __init__(
        self,
        *,
        from_tasks: Sequence[str] | str | None = None,
        from_run: Sequence[str] | str | None = None,
        from_dag: str | None = None,
        since: Any = None,
        until: Any = None,
        rollbacks: Sequence[str] = ("rollback",),
        only_if_failed: bool | Sequence[str] = False,
        dry_run: bool | str = False,
        max_messages: int | str | None = None,
        only_unread: bool | str = False,
        max_readers: int | str | None = None,
        older_than: Any = None,
        newer_than: Any = None,
        with_readers: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.from_tasks = from_tasks
        self.from_run = from_run
        self.from_dag = from_dag
        self.since = since
        self.until = until
        self.rollbacks = rollbacks
        self.only_if_failed = only_if_failed
        # Airflow has a method of that name, which nobody calls.
        self.dry_run = dry_run  # type: ignore[assignment, method-assign]
        self.max_messages = max_messages
        self.only_unread = only_unread
        self.max_readers = max_readers
        self.older_than = older_than
        self.newer_than = newer_than
        self.with_readers = with_readers

    def go_on(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Begin, or go on after a long wait in the triggerer; the ledger knows where.

        :param event: Says which wait it was.
        """
        from airflow_provider_dingtalk import execution, rolling_back
        from airflow_provider_dingtalk.hooks import DingTalkHook
        from airflow_provider_dingtalk.triggers import defer_for

        with execution.airflow_errors():
            fail_on = execution.check_choices(self.on_empty, self.fail_on)
            guards = self._guards()
            dry_run = execution.parse_flag(self.dry_run, "dry_run")
            from_tasks = execution.parse_task_ids(self.from_tasks, "from_tasks")
            if not (self.from_run or self.from_dag):
                self._check_known(from_tasks)
            if not self._is_due(context):
                return rolling_back.keep_all(context, from_tasks)
            found, loose = self._found(context, from_tasks)
            job = self._job = rolling_back.RollingBack(found, loose, guards, context, is_sweep=self._is_sweep)
            hook = DingTalkHook(self.dingtalk_conn_id)
            job.choose(hook)
            if dry_run:
                return job.plan()
            try:
                return job.run(hook, on_empty=self.on_empty, fail_on=fail_on)
            except execution.LongWait as wait:
                defer_for(self, wait.seconds, event)

    @classmethod
    def _with_outlet(cls, outlets: Any, dag: Any) -> list[Any]:
        from airflow_provider_dingtalk.outbox import with_outboxes

        return with_outboxes(outlets, dag)

    def _check_known(self, task_ids: Sequence[str]) -> None:
        """Refuse ids of no task: their receipts would never be found, and nobody would notice."""
        from airflow_provider_dingtalk.api.errors import InvalidInputError

        known = self.dag.task_dict if self.has_dag() else dict.fromkeys(task_ids)  # type: ignore[no-untyped-call]
        for index, task_id in enumerate(task_ids):
            if task_id not in known:
                meant = [name for name in known if name.endswith(f".{task_id}")]
                hint = f"; {meant[0]!r} is" if len(meant) == 1 else ""
                raise InvalidInputError(f"from_tasks[{index}]", f"is {task_id!r}, no task of this DAG{hint}")

    def _is_due(self, context: Context) -> bool:
        """Whether there is a reason to take anything back; sends that were cut off have ended then."""
        from airflow_provider_dingtalk.runs import Tasks

        if not self.only_if_failed:
            return True
        if isinstance(self.only_if_failed, bool):
            watched = Tasks(context, sorted(self.get_flat_relative_ids(upstream=True)))
        else:
            watched = Tasks(context, self.only_if_failed)
        if not watched.has_failed():
            return False
        watched.wait_for_sends()
        return True

    def _found(self, context: Context, from_tasks: Sequence[str]) -> tuple[list[Found], list[Receipt]]:
        """What was sent, by run; and what belongs to no run."""
        from airflow_provider_dingtalk import execution, selection
        from airflow_provider_dingtalk.api.errors import InvalidInputError
        from airflow_provider_dingtalk.messaging.receipts import parse_receipts

        loose = parse_receipts(self.receipts)
        run_ids = execution.parse_task_ids(self.from_run, "from_run")
        dag_id = execution.parse_one_id(self.from_dag, "from_dag")
        since, until = (execution.parse_moment(getattr(self, name), name) for name in ("since", "until"))
        if since is None and (until is not None or (dag_id and not run_ids)):
            raise InvalidInputError("since", "is missing; give it, or from_run")
        found = [selection.of_run(context, dag_id, run_id, from_tasks, must_be=True) for run_id in run_ids]
        if from_tasks and not run_ids:
            found.append(selection.of_tasks(context, from_tasks))
        if since is not None:
            found += selection.of_window(context, dag_id, since, until, self.rollbacks)
        return found, loose

    def _guards(self) -> Guards:
        from airflow_provider_dingtalk.execution import parse_flag
        from airflow_provider_dingtalk.guards import guards_of

        return guards_of(
            max_messages=self.max_messages,
            only_unread=parse_flag(self.only_unread, "only_unread"),
            max_readers=self.max_readers,
            older_than=self.older_than,
            newer_than=self.newer_than,
            with_readers=parse_flag(self.with_readers, "with_readers"),
        )


class DingTalkSweepOperator(DingTalkRollbackOperator):
    """Finish rollbacks that did not: of runs that timed out, for instance, for Airflow skips their teardowns.

    Looks through all runs of some DAGs that are over. Where a rollback did not succeed, it takes back what the
    sends of its block sent, once. A message that cannot be recalled is tried again by the next sweep, until it is
    too old.

    :param dag_ids: Ids of the DAGs to look through. (templated)
    :param rollbacks: Ids of their rollback tasks.
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``.
    :param fail_on: As of :class:`DingTalkRollbackOperator`, whose guards it has too; by default none, since a task
        that fails leaves no word for the next one.
    """

    template_fields: Sequence[str] = ("dag_ids", *DingTalkRollbackOperator.template_fields)
    _is_sweep: ClassVar[bool] = True

    def __init__(
        self, *, dag_ids: Sequence[str] | str, fail_on: Collection[str] = frozenset(), **kwargs: Any
    ) -> None:
        super().__init__(fail_on=fail_on, **kwargs)
        self.dag_ids = dag_ids

    def _found(self, context: Context, from_tasks: Sequence[str]) -> tuple[list[Found], list[Receipt]]:
        from airflow_provider_dingtalk import execution, selection

        dag_ids = execution.parse_task_ids(self.dag_ids, "dag_ids")
        found = [
            selection.of_unfinished(context, dag_id, self.rollbacks, selection.swept_runs(dag_id))
            for dag_id in dag_ids
        ]
        return [one for some in found for one in some], []


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
        from airflow_provider_dingtalk.compat import AirflowFailException
        from airflow_provider_dingtalk.runs import Tasks

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
    outbox; see :mod:`airflow_provider_dingtalk.outbox`. A second task, its watcher, fails the run if something in
    the block failed, where Airflow would call the run a success.

    Put it around tasks, task groups, mapped tasks and branches, in a DAG or in a task group; in a mapped task
    group each instance takes back its own.

    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``.
    :param task_id: Of the rollback; two blocks of one DAG, or of one task group, need two.
    :param options: More arguments of :class:`DingTalkRollbackOperator`, and any of Airflow's. Unless given,
        there are 3 ``retries``, 30 s apart.
    :returns: The rollback's task.
    :raises InvalidInputError: There is no DAG around the block, or no task was made in it.
    """
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
    if not issubclass(getattr(task, "operator_class", type(task)), _SendOperator):
        return
    if isinstance(task, _SendOperator):
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
