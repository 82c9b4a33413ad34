"""Operators to recall the messages of runs, of any kind."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_dingtalk.operators.base import RecallOperator

if TYPE_CHECKING:
    from typing import Unpack

    from airflow.sdk import Context

    from airflow_provider_dingtalk.exceptions import DingTalkError
    from airflow_provider_dingtalk.hooks import DingTalkHook
    from airflow_provider_dingtalk.messages.receipt import Receipt
    from airflow_provider_dingtalk.operators import arguments
    from airflow_provider_dingtalk.task.rollback_filters import RollbackFilters
    from airflow_provider_dingtalk.task.rollback_source import RunMessages


#: Arguments that select the messages, and arguments that limit the selection.
_SOURCES = ("receipts", "from_tasks", "from_run", "from_dag", "since", "until")
_FILTERS = ("max_messages", "only_unread", "max_readers", "older_than", "newer_than", "with_readers")
#: Time since its end for which a sweep searches a run.
LOOK_BACK = timedelta(days=7)


class DingTalkRollbackOperator(RecallOperator):
    """Operator to recall messages by receipts, tasks, runs or time.

    For the rollback of a run use the one line :func:`rollback_on_failure`. By hand, make the operator a teardown
    without a setup, with direct edges from every task that sends or works. It then runs however these tasks
    ended::

        rollback = DingTalkRollbackOperator(task_id="rollback", from_tasks=["send"], only_if_failed=True)
        send >> check
        [send, check] >> rollback.as_teardown()

    Messages that a rollback has recalled already are left out. Messages that are too old are listed as
    ``expired``.

    An invalid ``fail_on``, ``on_empty``, ``max_messages`` or ``with_readers`` fails the task after the recall, or after
    the plan; other arguments choose the messages, and fail it before any call.

    :param receipts: Receipts, or lists of them, nested as mapped tasks nest them; ``None`` is dropped. (templated)
    :param from_tasks: Id of a send task, or a list of ids. Receipts are found even if a task failed or was killed.
        The tasks are those of this run, unless ``from_run`` or ``since`` names other runs. (templated)
    :param from_run: Id of a run, or a list of ids; selects everything the run sent. (templated)
    :param from_dag: Id of the DAG of ``from_run`` or ``since``; default None, which means this DAG. (templated)
    :param since: Start of a time window, as a ``datetime`` or ISO 8601; selects everything that all runs of the
        DAG sent in it. Without a time zone it is in Airflow's ``default_timezone``. The DAG needs no rollback.
        (templated)
    :param until: End of the window that ``since`` starts; default None, which leaves it open. (templated)
    :param rollbacks: Id, or ids, of the DAG's rollback tasks, for a sweep; default ``rollback``. The id of a task in a
        task group begins with the group's id, as in ``group.rollback``.
    :param only_if_failed: True to recall only if an upstream task failed; an id or a list of ids to recall only if
        one of these tasks failed; default False.
    :param dry_run: Push the XCom ``plan`` and recall nothing; default False. The plan counts messages, people as
        far as known, and API calls, also by conversation. (templated)
    :param max_messages: Recall nothing and fail if there are more; default None, no limit. (templated)
    :param only_unread: Keep messages that people have read, and those with unknown readers; default False. It
        takes a call or more for each message; the report counts them as ``readers_api_calls``. (templated)
    :param max_readers: Keep messages that more people have read; default None. It takes the same calls.
        (templated)
    :param older_than: Keep messages that are younger, as a ``timedelta`` or seconds; default None. (templated)
    :param newer_than: Keep messages that are older, as a ``timedelta`` or seconds; default None. With
        ``older_than`` it must be the longer time. (templated)
    :param with_readers: Record the readers of the messages; default False. The report has user ids by message, and
        the XCom ``readers`` has all of them, usable as the ``user_ids`` of a correction. It takes the calls of
        ``only_unread``. (templated)
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``; default ``dingtalk_default``.
    :param fail_on: Outcomes that fail the task; default ``failed``, ``expired`` and ``unknown``.
    :param on_empty: Result with nothing to recall, or with an empty plan: ``succeed``, ``skip`` or ``fail``;
        default ``succeed``.
    """

    template_fields: Sequence[str] = (*_SOURCES, "dry_run", *_FILTERS)
    _is_sweep: ClassVar[bool] = False
    #: True for the task of a rollback context until its block ends.
    lacks_block = False

    def __init__(
        self,
        *,
        from_tasks: arguments.Ids | None = None,
        from_run: arguments.Ids | None = None,
        from_dag: arguments.Text | None = None,
        since: arguments.Moment | None = None,
        until: arguments.Moment | None = None,
        rollbacks: Sequence[str] = ("rollback",),
        only_if_failed: bool | Sequence[str] = False,
        dry_run: arguments.Flag = False,
        max_messages: arguments.Number | None = None,
        only_unread: arguments.Flag = False,
        max_readers: arguments.Number | None = None,
        older_than: arguments.Age | None = None,
        newer_than: arguments.Age | None = None,
        with_readers: arguments.Flag = False,
        **kwargs: Unpack[arguments.RecallArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.from_tasks = from_tasks
        self.from_run = from_run
        self.from_dag = from_dag
        self.since = since
        self.until = until
        self.rollbacks = rollbacks
        self.only_if_failed = only_if_failed
        # Airflow's base class has a method of this name, which Airflow does not call.
        self.dry_run = dry_run  # type: ignore[assignment, method-assign]
        self.max_messages = max_messages
        self.only_unread = only_unread
        self.max_readers = max_readers
        self.older_than = older_than
        self.newer_than = newer_than
        self.with_readers = with_readers

    def check_arguments(self) -> None:
        """Check outcomes, filters and the source; see :meth:`MessageOperator.check_arguments`."""
        from airflow_provider_dingtalk.operators import parse_checks

        super().check_arguments()
        given = parse_checks.known(self, self.template_fields)
        parse_checks.check_filters(given)
        watched = None if isinstance(self.only_if_failed, bool) else self.only_if_failed
        ids = {**given, "rollbacks": self.rollbacks, "only_if_failed": watched}
        parse_checks.check_ids(ids, "from_tasks", "from_run", "dag_ids", "rollbacks", "only_if_failed")
        self._check_source(given)

    def _check_source(self, given: dict[str, Any]) -> None:
        from airflow_provider_dingtalk.operators import parse_checks

        parse_checks.check_source(given)

    def resolve_template_files(self) -> None:
        """Read templates from files, which Airflow does when a DAG is complete.

        :raises InvalidInputError: If a rollback context has no block, which would recall nothing.
        """
        super().resolve_template_files()
        if self.lacks_block:
            from airflow_provider_dingtalk.exceptions import InvalidInputError

            problem = f"{self.task_id!r} has no block; write with rollback_on_failure(): around the tasks"
            raise InvalidInputError("rollback_on_failure", problem)

    def _run(self, hook: DingTalkHook, context: Context) -> dict[str, Any]:
        from airflow_provider_dingtalk.task import recall, rollback
        from airflow_provider_dingtalk.task.arguments import parse_task_ids

        with recall.report_on_failure(context):
            from_tasks = parse_task_ids(self.from_tasks, "from_tasks")
            # A misspelt task must not keep the messages of the others in the chats.
            search_errors = [] if self._is_elsewhere else self._unknown_tasks("from_tasks", from_tasks)
            if not self._is_due(context, search_errors):
                return rollback.keep_all(context, from_tasks, [*search_errors, *self._mistakes()])
            filters, dry_run, outcome_options = self._options(search_errors)
            found, receipts = self._find(context, from_tasks, search_errors)
            job = self._job = rollback.RollbackTask(
                found, receipts, filters, context, is_sweep=self._is_sweep, search_errors=search_errors
            )
        job.choose(hook)
        return job.plan(outcome_options["on_empty"]) if dry_run else job.run(hook, **outcome_options)

    def _options(self, errors: list[DingTalkError]) -> tuple[RollbackFilters, bool, dict[str, Any]]:
        """Return filters, ``dry_run`` and outcome options; collect errors that must not stop a recall."""
        from airflow_provider_dingtalk.task.arguments import parse_flag
        from airflow_provider_dingtalk.task.rollback_filters import valid_filters_of

        filters = valid_filters_of({name: getattr(self, name) for name in _FILTERS}, errors)
        return filters, parse_flag(self.dry_run, "dry_run"), self._outcome_options(errors)

    def _mistakes(self) -> list[DingTalkError]:
        """Return the errors of the options, which are to be seen before a task fails."""
        from airflow_provider_dingtalk.exceptions import InvalidInputError

        errors: list[DingTalkError] = []
        try:
            self._options(errors)
        except InvalidInputError as error:
            errors.append(error)
        return errors

    @classmethod
    def _with_outlet(cls, outlets: Any, dag: Any) -> list[Any]:
        from airflow_provider_dingtalk.task.asset_events import with_rollback_log

        return with_rollback_log(outlets, dag, of_all_dags=True)

    @property
    def _is_elsewhere(self) -> bool:
        """True if ``from_tasks`` are tasks of other runs."""
        from airflow_provider_dingtalk.task.arguments import is_missing

        return not all(map(is_missing, (self.from_run, self.from_dag, self.since)))

    def _unknown_tasks(self, field: str, task_ids: Sequence[str]) -> list[DingTalkError]:
        """Return an error for each task id that is unknown, and so finds no receipts."""
        from airflow_provider_dingtalk.exceptions import InvalidInputError

        known = self.dag.task_dict if self.has_dag() else dict.fromkeys(task_ids)  # type: ignore[no-untyped-call]
        errors: list[DingTalkError] = []
        for index, task_id in enumerate(task_ids):
            if task_id not in known:
                meant = [name for name in known if name.endswith(f".{task_id}")]
                hint = f"; {meant[0]!r} is" if len(meant) == 1 else ""
                errors.append(InvalidInputError(f"{field}[{index}]", f"is {task_id!r}, no task of this DAG{hint}"))
        return errors

    def _is_due(self, context: Context, search_errors: list[DingTalkError]) -> bool:
        """Return True if there is a reason to recall, after sends that were cut off have ended."""
        from airflow_provider_dingtalk.language import choose
        from airflow_provider_dingtalk.task.arguments import parse_task_ids
        from airflow_provider_dingtalk.task.run_history import Tasks

        if self.only_if_failed is False or self.only_if_failed is None:
            return True
        if isinstance(self.only_if_failed, bool):
            task_ids = sorted(self.get_flat_relative_ids(upstream=True))
        else:
            task_ids = parse_task_ids(self.only_if_failed, "only_if_failed")
            _refuse_empty("only_if_failed", task_ids)
            search_errors += self._unknown_tasks("only_if_failed", task_ids)
        watched = Tasks(context, task_ids)
        if not (failed := watched.failed()):
            return False
        names, more = ", ".join(failed[:10]), max(len(failed) - 10, 0)
        told = choose(
            f"Recalling messages, because these tasks failed: {names}{f' and {more} more' if more else ''}.",
            f"正在撤回消息，因为以下任务失败：{names}{f' 等 {len(failed)} 个' if more else ''}。",
        )
        self.log.info("%s", told)
        watched.wait_for_sends()
        return True

    def _find(
        self, context: Context, from_tasks: Sequence[str], search_errors: list[DingTalkError]
    ) -> tuple[list[RunMessages], list[Receipt]]:
        """Return the messages of runs, and receipts without a run; collect errors that must not stop the rest."""
        from airflow_provider_dingtalk.exceptions import InvalidInputError
        from airflow_provider_dingtalk.task import rollback_source
        from airflow_provider_dingtalk.task.arguments import (
            is_missing,
            parse_moment,
            parse_one_id,
            parse_receipts,
            parse_task_ids,
        )

        receipts = parse_receipts(self.receipts)
        run_ids = [] if is_missing(self.from_run) else parse_task_ids(self.from_run, "from_run")
        dag_id = parse_one_id(self.from_dag, "from_dag")
        since, until = (parse_moment(getattr(self, name), name) for name in ("since", "until"))
        # A form may have a field for a run and one for a time, and only one of them is filled in.
        if run_ids or since is not None:
            self._refuse_nothing("from_dag", "from_tasks")
            if "from_tasks" in self.given:
                # Without a task it would select all tasks.
                _refuse_empty("from_tasks", from_tasks)
        elif from_tasks or not receipts:
            self._refuse_nothing("from_run", "since", "from_dag", "from_tasks")
        if since is None and (until is not None or (dag_id and not run_ids)):
            raise InvalidInputError("since", "is missing; give it, or from_run")
        errors = search_errors
        found = [rollback_source.of_run(context, dag_id, run_id, from_tasks, errors=errors) for run_id in run_ids]
        if since is not None:
            found += rollback_source.of_window(context, dag_id, since, until, from_tasks, errors=errors)
        elif from_tasks and not run_ids:
            found.append(rollback_source.of_tasks(context, from_tasks))
        return found, receipts

    def _refuse_nothing(self, *names: str) -> None:
        """Raise an error if one of these was given and is nothing now, which would select other messages, or none."""
        from airflow_provider_dingtalk.exceptions import InvalidInputError
        from airflow_provider_dingtalk.task.arguments import is_missing

        if nothing := [name for name in names if name in self.given and is_missing(getattr(self, name))]:
            raise InvalidInputError(
                nothing[0], "is empty, or a template that rendered to nothing", "为空，或模板渲染后为空"
            )


class DingTalkSweepOperator(DingTalkRollbackOperator):
    """Operator to finish rollbacks that did not succeed.

    For instance of runs that timed out, because Airflow skips their teardowns. It searches the ended runs of some
    DAGs. Where a rollback did not succeed, it recalls the messages of that rollback's block, once. The next sweep
    retries a message that was not recalled, until it is too old.

    :param dag_ids: Ids of the DAGs to search. If a DAG is unknown to Airflow, or its runs have none of the
        rollback tasks, the task fails after the other DAGs are swept. (templated)
    :param rollbacks: Ids of the rollback tasks, as of :class:`DingTalkRollbackOperator`.
    :param look_back: Time since a run's end, as a ``timedelta`` or seconds, after which it is searched no more;
        default 7 days. It must exceed the pause between two sweeps. DingTalk recalls messages of 24 hours at most,
        where it documents an age, so only groups, private chats and DINGs gain by more. None searches all runs.
        (templated)
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``; default ``dingtalk_default``.
    :param fail_on: Outcomes that fail the task, as of :class:`DingTalkRollbackOperator`, whose filters it has too.
        The default is empty, because a task that fails writes no event for the next sweep.
    """

    template_fields: Sequence[str] = ("dag_ids", "look_back", *DingTalkRollbackOperator.template_fields)
    _is_sweep: ClassVar[bool] = True

    def __init__(
        self,
        *,
        dag_ids: arguments.Ids,
        look_back: arguments.Age | None = LOOK_BACK,
        fail_on: Collection[str] = frozenset(),
        **kwargs: Unpack[arguments.SweepArguments],
    ) -> None:
        super().__init__(fail_on=fail_on, **kwargs)
        self.dag_ids = dag_ids
        self.look_back = look_back

    def _check_source(self, given: dict[str, Any]) -> None:
        from airflow_provider_dingtalk.exceptions import InvalidInputError
        from airflow_provider_dingtalk.operators import parse_checks

        self._refuse_sources()
        if self.only_if_failed:
            raise InvalidInputError("only_if_failed", "is not for a sweep, whose runs have ended; leave it out")
        for name in ("dag_ids", "rollbacks"):
            _refuse_empty(name, given.get(name, getattr(self, name)))
        parse_checks.check_look_back(given.get("look_back"))

    def _refuse_sources(self) -> None:
        from airflow_provider_dingtalk.exceptions import InvalidInputError

        for name in _SOURCES:
            if getattr(self, name) is not None:
                raise InvalidInputError(name, "is not for a sweep, which finds out by itself; give dag_ids")

    def _find(
        self, context: Context, from_tasks: Sequence[str], search_errors: list[DingTalkError]
    ) -> tuple[list[RunMessages], list[Receipt]]:
        from airflow_provider_dingtalk.exceptions import InvalidInputError
        from airflow_provider_dingtalk.task import rollback_source
        from airflow_provider_dingtalk.task.arguments import parse_look_back, parse_task_ids

        self._refuse_sources()
        dag_ids = parse_task_ids(self.dag_ids, "dag_ids")
        rollbacks = parse_task_ids(self.rollbacks, "rollbacks")
        _refuse_empty("dag_ids", dag_ids)
        _refuse_empty("rollbacks", rollbacks)
        earliest = time.time() - parse_look_back(self.look_back)
        found: list[RunMessages] = []
        for dag_id in dag_ids:
            try:
                found += rollback_source.of_unfinished(context, dag_id, rollbacks, earliest)
            except InvalidInputError as problem:
                # An unknown DAG must not keep the others from being swept.
                search_errors.append(problem)
        return found, []


def _refuse_empty(field: str, value: Any) -> None:
    """Raise an error for no ids, which would be taken for "nothing to recall"."""
    from airflow_provider_dingtalk.operators.parse_checks import is_empty

    if is_empty(value):
        from airflow_provider_dingtalk.exceptions import InvalidInputError

        raise InvalidInputError(field, "is empty; give one id or more")
