"""Base classes of the operators that send and of those that recall."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk import BaseOperator
from airflow.sdk.bases.operator import BaseOperatorMeta

if TYPE_CHECKING:
    from inspect import Signature
    from typing import Unpack

    from airflow.sdk import Context
    from jinja2 import Environment

    from airflow_provider_dingtalk.exceptions import DingTalkError
    from airflow_provider_dingtalk.hooks import DingTalkHook
    from airflow_provider_dingtalk.messages.receipt import Receipt
    from airflow_provider_dingtalk.operators import arguments
    from airflow_provider_dingtalk.task.api_server import ApiServer

#: Outcomes for which a recall fails; the default.
DEFAULT_FAIL_ON = frozenset({"failed", "expired", "unknown"})


class SkipTemplatingMixin:
    """Mixin that skips the rendering of texts without a template.

    For operators and sensors whose templated fields may hold thousands of keys or user ids. Airflow compiles a
    template for each text, which takes 0.17 ms for a plain key and 1.8 s for 10,000 keys.
    """

    def render_template(
        self, content: Any, context: Context, jinja_env: Environment | None = None, seen_oids: set[int] | None = None
    ) -> Any:
        """Render a value; return a text without a template unchanged."""
        # Rendering turns instances of a subclass of str into plain texts, so they are not skipped.
        if type(content) is str and jinja_env is not None:
            from airflow_provider_dingtalk.operators.templates import is_plain

            if is_plain(content, jinja_env, getattr(self, "template_ext", ())):
                return content
        return super().render_template(content, context, jinja_env, seen_oids)  # type: ignore[misc]


class FullSignature:
    """Descriptor for the signature of a class, with the arguments of its base classes.

    ``help()`` and notebooks show it. Type checkers and editors read the annotations of the constructors instead.
    """

    def __get__(self, task: Any, owner: type) -> Signature:
        from airflow_provider_dingtalk.operators.signatures import full_signature

        return full_signature(owner)


class CheckedMeta(BaseOperatorMeta):
    """Metaclass that checks a task of a DAG after its constructor.

    Airflow forbids constructors to read templated arguments, because a template is rendered later.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Make a task.

        :raises InvalidInputError: If an argument that is known already is invalid.
        """
        task = super().__call__(*args, **kwargs)
        # Once a template is rendered, its value does not tell whether the argument was given.
        task.given = frozenset(name for name in task.template_fields if getattr(task, name, None) is not None)
        # A mapped task is made anew when it runs, and then reports its errors as a task does.
        if task.has_dag() and not getattr(task, "_BaseOperator__from_mapped", False):
            task.check_arguments()
        return task


class MessageOperator(SkipTemplatingMixin, BaseOperator, metaclass=CheckedMeta):
    """Base class of the operators that send and of those that recall.

    While DingTalk accepts no calls, the task is deferred to the triggerer and resumes from its checkpoint.

    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``; default ``dingtalk_default``.
    """

    __signature__ = FullSignature()
    #: Names of the templated arguments that were given; the metaclass sets them.
    given: frozenset[str] = frozenset()

    def __init__(self, *, dingtalk_conn_id: str = "dingtalk_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dingtalk_conn_id = dingtalk_conn_id
        self._job: Any = None

    def check_arguments(self) -> None:
        """Check, while the DAG file is parsed, the arguments that are known then.

        :raises InvalidInputError: If one is invalid.
        """
        from airflow_provider_dingtalk.operators import parse_checks

        parse_checks.check_conn_id(self.dingtalk_conn_id)

    def execute(self, context: Context) -> Any:
        """Send or recall the messages.

        :returns: Receipts of the sent messages, or the report of the recall, as plain JSON.
        :raises AirflowFailException: If the failure is permanent, for instance an invalid argument or a wrong key.
        :raises DingTalkError: If the failure may pass; Airflow retries the task if it has retries.
        """
        return self.resume(context)

    def resume(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Begin, or resume from the checkpoint after a deferral.

        :param event: Event of the trigger that ended the deferral; default None.
        """
        from airflow_provider_dingtalk.hooks import DingTalkHook
        from airflow_provider_dingtalk.task.errors import DeferRequested, airflow_errors
        from airflow_provider_dingtalk.triggers import defer_for

        with airflow_errors():
            try:
                return self._run(DingTalkHook(self.dingtalk_conn_id), context)
            except DeferRequested as request:
                defer_for(self, request.seconds, event)

    def on_kill(self) -> None:
        """Begin no further call.

        It only sets a flag, because a request to Airflow's supervisor would deadlock here.
        """
        if self._job:
            self._job.stop()

    def _run(self, hook: DingTalkHook, context: Context) -> Any:
        raise NotImplementedError


def _may_retry(allow_resend: Any) -> bool:
    """Return True if a retry of a send would not lose receipts."""
    from airflow_provider_dingtalk.version_compat import HAS_TASK_STATE_STORE

    return HAS_TASK_STATE_STORE or bool(allow_resend)


class SendOperator(MessageOperator):
    """Base class of all send operators.

    On Airflow 3.3 and later a retry sends only the missing messages, and publishes the receipts of earlier tries.
    Below 3.3 there are no retries, unless ``allow_resend`` is set. When a retry starts, Airflow deletes the
    receipts of the try before, and no rollback would find them.

    The task fails if a call was refused or is in doubt; its receipts and those in doubt are pushed before. Permanent
    failures, such as an invalid argument, are raised as ``AirflowFailException``, which Airflow does not retry.

    :param fail_on_dropped: Fail the task if DingTalk leaves some people out, because they are unknown, throttled
        or filtered; default False.
    :param fail_on_unreached: Fail the task if DingTalk leaves all people out; default True.
    :param fail_on_refused: Fail the task if DingTalk refuses a receiver, for instance a person who left or a
        deleted group; default True. The others are served in either case, and the XCom ``refused`` lists the
        refused ones.
    :param on_unknown_send: Reaction to a call in flight when a try died. It may have sent, and DingTalk has no
        idempotency key. ``fail`` lists it in the XCom ``unknown``, ``skip`` lists it and continues, ``resend``
        repeats it; default ``fail``.
    :param on_cleared_send: Reaction if the task had sent everything when it was cleared: ``fail``, ``resend``, or
        ``keep``; default ``fail``.
    :param allow_resend: Let a second try send everything again below Airflow 3.3, which keeps no record; default
        False. The messages of the try before are then in no XCom.
    """

    kind: ClassVar[str]
    ui_color = "#d6eaff"

    def __init__(
        self,
        *,
        fail_on_dropped: bool = False,
        fail_on_unreached: bool = True,
        fail_on_refused: bool = True,
        on_unknown_send: Literal["fail", "skip", "resend"] = "fail",
        on_cleared_send: Literal["fail", "resend", "keep"] = "fail",
        allow_resend: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if self.retries and not _may_retry(allow_resend):
            self.retries = 0
        self.fail_on_dropped = fail_on_dropped
        self.fail_on_unreached = fail_on_unreached
        self.fail_on_refused = fail_on_refused
        self.on_unknown_send = on_unknown_send
        self.on_cleared_send = on_cleared_send
        self.allow_resend = allow_resend

    def check_arguments(self) -> None:
        """Check the policy, the receivers and the content; see :meth:`MessageOperator.check_arguments`."""
        from airflow_provider_dingtalk.operators import parse_checks

        super().check_arguments()
        parse_checks.check_choices(vars(self), parse_checks.SEND_CHOICES)
        names = self.template_fields
        parse_checks.check_send_request(self.kind, names, parse_checks.known(self, names))

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Make a mapped operator, without retries if they would lose receipts."""
        from airflow_provider_dingtalk.operators import parse_checks

        parse_checks.check_choices(kwargs, parse_checks.SEND_CHOICES)
        made = super().partial(**kwargs)
        if not _may_retry(made.kwargs.get("allow_resend")):
            made.kwargs["retries"] = 0
        return made

    def _run(self, hook: DingTalkHook, context: Context) -> list[dict[str, Any]]:
        from airflow_provider_dingtalk.task.send import SendPolicy, SendTask

        policy = SendPolicy(**{name: getattr(self, name) for name in SendPolicy.__struct_fields__})
        task = SendTask(hook.send_requests(self.kind, **self._arguments()), context, policy, self.task_id)
        self._job = task.job
        return task.run(hook)

    def _arguments(self) -> dict[str, Any]:
        from airflow_provider_dingtalk.operators.parse_checks import FLAGS
        from airflow_provider_dingtalk.task.arguments import parse_flag

        given = {name: getattr(self, name) for name in self.template_fields}
        return given | {name: parse_flag(given[name], name) for name in FLAGS if name in given}


class RobotSendOperator(SendOperator):
    """Base class of the operators that send a robot's message."""

    template_fields: Sequence[str] = ("robot_code", "text", "title", "markdown", "msg_key", "msg_param")
    template_fields_renderers: ClassVar[dict[str, str]] = {"markdown": "md", "msg_param": "json"}

    def __init__(
        self,
        *,
        robot_code: arguments.Text | None = None,
        text: arguments.Text | None = None,
        title: arguments.Text | None = None,
        markdown: arguments.Text | None = None,
        msg_key: arguments.Text | None = None,
        msg_param: arguments.Json | None = None,
        **kwargs: Unpack[arguments.SendArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.robot_code = robot_code
        self.text = text
        self.title = title
        self.markdown = markdown
        self.msg_key = msg_key
        self.msg_param = msg_param


class _Links:
    """Descriptor for the report link, of a class and of a task; imported on access."""

    def __get__(self, task: BaseOperator | None, owner: type[BaseOperator]) -> tuple[Any, ...]:
        from airflow_provider_dingtalk.operators.links import DingTalkReportLink

        return (DingTalkReportLink(),)


class RecallOperator(MessageOperator):
    """Base class of all recall operators.

    The report is pushed as the XCom ``report`` before an error is raised, and is logged as a table. If the task
    succeeds, an event of its DAG's rollback log holds the number of recalled messages.

    The task fails if messages end in an outcome of ``fail_on``. Airflow retries it only if some of them may still be
    recalled; other failures are raised as ``AirflowFailException``. An invalid ``fail_on`` or ``on_empty`` fails the
    task after the recall.

    :param receipts: Receipts, or lists of them, nested as mapped tasks nest them; ``None`` is dropped. (templated)
    :param fail_on: Outcomes that fail the task; default ``failed``, ``expired`` and ``unknown``.
    :param on_empty: Result with nothing to recall: ``succeed``, ``skip`` or ``fail``; default ``succeed``.
    """

    ui_color = "#ffe7ba"
    operator_extra_links = _Links()

    def __init__(
        self,
        *,
        receipts: arguments.Receipts | None = None,
        fail_on: Collection[str] = DEFAULT_FAIL_ON,
        on_empty: arguments.OnEmpty = "succeed",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.receipts = receipts
        self.fail_on = fail_on
        self.on_empty = on_empty
        self.outlets = self._with_outlet(self.outlets, self.dag if self.has_dag() else None)  # type: ignore[no-untyped-call]
        self._api_server: ApiServer | None = None

    def resume(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Begin, or resume from the checkpoint after a deferral; wait for Airflow's API server while it is away."""
        from airflow_provider_dingtalk.task.api_server import api_server_of, waiting_for_server

        context = waiting_for_server(context)
        self._api_server = api_server_of(context)
        return super().resume(context, event)

    def on_kill(self) -> None:
        """Begin no further call, and wait no longer for Airflow's API server."""
        super().on_kill()
        if self._api_server:
            self._api_server.stop()

    def check_arguments(self) -> None:
        """Check the outcomes; see :meth:`MessageOperator.check_arguments`."""
        from airflow_provider_dingtalk.operators import parse_checks

        super().check_arguments()
        parse_checks.check_outcomes(self.on_empty, self.fail_on)

    def _outcome_options(self, errors: list[DingTalkError]) -> dict[str, Any]:
        from airflow_provider_dingtalk.task.arguments import valid_outcome_options

        return valid_outcome_options(self.on_empty, self.fail_on, DEFAULT_FAIL_ON, errors)

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Make a mapped operator, with the rollback log as an outlet."""
        from airflow_provider_dingtalk.operators import parse_checks

        parse_checks.check_outcomes(kwargs.get("on_empty", "succeed"), kwargs.get("fail_on", DEFAULT_FAIL_ON))
        made = super().partial(**kwargs)
        made.kwargs["outlets"] = cls._with_outlet(made.kwargs.get("outlets"), made.kwargs.get("dag"))
        return made

    @classmethod
    def _with_outlet(cls, outlets: Any, dag: Any) -> list[Any]:
        """Add the rollback log to the outlets that a user gives."""
        from airflow_provider_dingtalk.task.asset_events import with_rollback_log

        return with_rollback_log(outlets, dag)


class RecallOneKindOperator(RecallOperator):
    """Base class to recall one kind of message, by keys or receipts."""

    kind: ClassVar[str]

    def check_arguments(self) -> None:
        """Check outcomes, keys and receipts; see :meth:`MessageOperator.check_arguments`."""
        from airflow_provider_dingtalk.operators import parse_checks

        super().check_arguments()
        keys_argument, *rest = self.template_fields
        parse_checks.check_keys(self.kind, parse_checks.known(self, [keys_argument, *rest]), keys_argument)

    def _run(self, hook: DingTalkHook, context: Context) -> dict[str, Any]:
        from functools import partial

        from airflow_provider_dingtalk.task import recall
        from airflow_provider_dingtalk.task.rollback import publish_result

        errors: list[DingTalkError] = []
        with recall.report_on_failure(context):
            options = self._outcome_options(errors)
            self._job = recall.recall_job(receipts := self._messages(hook), context, self.dingtalk_conn_id)
        publish = partial(publish_result, context)
        report = recall.run_recall(hook, self._job, context, publish=publish, receipts=receipts, **options)
        if errors:
            raise errors[0]
        return report

    def _messages(self, hook: DingTalkHook) -> list[Receipt]:
        from airflow_provider_dingtalk.messages.message_types import message_type
        from airflow_provider_dingtalk.task.arguments import messages_to_recall

        of_kind = message_type(self.kind)
        sender = {name: getattr(self, name, None) for name in ("robot_code", "agent_id", "open_conversation_id")}
        return messages_to_recall(of_kind, getattr(self, of_kind.keys_argument), self.receipts, sender, hook.defaults)


class RecallByRobotOperator(RecallOneKindOperator):
    """Base class to recall a robot's messages by their ``processQueryKey``."""

    template_fields: Sequence[str] = ("process_query_keys", "robot_code", "receipts")

    def __init__(
        self,
        *,
        process_query_keys: arguments.Ids | None = None,
        robot_code: arguments.Text | None = None,
        **kwargs: Unpack[arguments.RecallArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.process_query_keys = process_query_keys
        self.robot_code = robot_code
