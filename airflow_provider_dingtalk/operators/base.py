"""What the operators share: of those that send, of those that recall.

Everything heavy is imported inside methods: the dag-processor imports this file for every DAG file it parses.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context
    from jinja2 import Environment

    from airflow_provider_dingtalk.messaging.receipts import Receipt
    from airflow_provider_dingtalk.messaging.send import Send

#: Arguments that say yes or no: a template renders them as text, and the text ``"False"`` counts as true.
_FLAGS = ("one_receipt_per_user", "to_all_user")
#: Classes of messages for which a recall fails.
DEFAULT_FAIL_ON = frozenset({"failed", "expired", "unknown"})


class PlainTexts:
    """For operators and sensors whose templated fields may hold thousands of keys or user ids.

    Airflow compiles a template for each text, 0.17 ms for a key that is none: 1.8 s for 10,000 of them.
    """

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """As of every operator; a text without a template in it is its own result."""
        # Not a subclass's: rendering makes plain texts of those.
        if type(content) is str and jinja_env is not None and self._is_plain(content, jinja_env):
            return content
        return super().render_template(content, context, jinja_env, seen_oids)  # type: ignore[misc]

    def _is_plain(self, text: str, jinja_env: Environment) -> bool:
        """Whether Jinja would give back the very text."""
        from jinja2.nativetypes import NativeEnvironment

        # Line ends are changed, a native environment makes other types of texts, and files are templates by name.
        marks = (
            "\n",
            "\r",
            jinja_env.block_start_string,
            jinja_env.variable_start_string,
            jinja_env.comment_start_string,
            jinja_env.line_statement_prefix,
            jinja_env.line_comment_prefix,
        )
        if any(mark and mark in text for mark in marks) or isinstance(jinja_env, NativeEnvironment):
            return False
        if jinja_env.preprocess(text) != text:
            return False
        return not text.endswith(tuple(getattr(self, "template_ext", ())))


def _may_retry(allow_resend: Any) -> bool:
    """Tell whether a send may have retries: not where one would lose the receipts of the try before."""
    from airflow_provider_dingtalk.version_compat import KEEPS_TASK_STATE

    return KEEPS_TASK_STATE or bool(allow_resend)


class SendOperator(PlainTexts, BaseOperator):
    """What all send operators share.

    On Airflow 3.3 and later a retry sends only what is missing, and publishes the receipts of earlier tries. Below
    3.3 there are no retries, unless ``allow_resend`` is set: when a retry starts, Airflow deletes the receipts of
    the try before, and no rollback would find them.

    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``.
    :param fail_on_dropped: Fail the task if DingTalk leaves some people out: unknown, throttled, filtered ones.
    :param fail_on_unreached: Fail the task if DingTalk leaves all people out; default True.
    :param fail_on_refused: Fail the task if DingTalk refuses a receiver: a person who left, a group that is gone;
        default True. The others are served in either case, and the XCom ``refused`` lists the refused ones.
    :param on_unknown_send: A call that was under way when a try died may have sent, and DingTalk has no
        idempotency key: ``fail`` (list it in the XCom ``unknown``), ``skip`` (list it and go on), ``resend``.
    :param on_cleared_send: The task had sent everything when it was cleared: ``fail``, ``resend``, or ``keep``.
    :param allow_resend: Below Airflow 3.3, which keeps no record: let a second try send all of it again. What the
        try before sent is then in no XCom any more.
    """

    kind: ClassVar[str]
    ui_color = "#d6eaff"

    def __init__(
        self,
        *,
        dingtalk_conn_id: str = "dingtalk_default",
        fail_on_dropped: bool = False,
        fail_on_unreached: bool = True,
        fail_on_refused: bool = True,
        on_unknown_send: str = "fail",
        on_cleared_send: str = "fail",
        allow_resend: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if self.retries and not _may_retry(allow_resend):
            self.retries = 0
        self.dingtalk_conn_id = dingtalk_conn_id
        self.fail_on_dropped = fail_on_dropped
        self.fail_on_unreached = fail_on_unreached
        self.fail_on_refused = fail_on_refused
        self.on_unknown_send = on_unknown_send
        self.on_cleared_send = on_cleared_send
        self.allow_resend = allow_resend
        self._job: Send | None = None

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """As of every operator."""
        made = super().partial(**kwargs)
        if not _may_retry(made.kwargs.get("allow_resend")):
            made.kwargs["retries"] = 0
        return made

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Send; the receipts are the result."""
        return self.go_on(context)

    def go_on(self, context: Context, event: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Begin, or go on after a long wait in the triggerer; the ledger knows where.

        :param event: Says which wait it was.
        """
        from airflow_provider_dingtalk.execution import LongWait, airflow_errors
        from airflow_provider_dingtalk.hooks import DingTalkHook
        from airflow_provider_dingtalk.sending import Sending, SendPolicy
        from airflow_provider_dingtalk.triggers import defer_for

        policy = SendPolicy(
            fail_on_dropped=self.fail_on_dropped,
            fail_on_unreached=self.fail_on_unreached,
            fail_on_refused=self.fail_on_refused,
            on_unknown_send=self.on_unknown_send,
            on_cleared_send=self.on_cleared_send,
            allow_resend=self.allow_resend,
        )
        with airflow_errors():
            hook = DingTalkHook(self.dingtalk_conn_id)
            sending = Sending(hook.letters(self.kind, **self._arguments()), context, policy, self.task_id)
            self._job = sending.job
            try:
                return sending.run(hook)
            except LongWait as wait:
                defer_for(self, wait.seconds, event)

    def on_kill(self) -> None:
        """Begin no further call. Sets a flag only: talking to Airflow's supervisor here would deadlock."""
        if self._job:
            self._job.stop()

    def _arguments(self) -> dict[str, Any]:
        from airflow_provider_dingtalk.execution import parse_flag

        given = {name: getattr(self, name) for name in self.template_fields}
        return given | {name: parse_flag(given[name], name) for name in _FLAGS if name in given}


class RobotSendOperator(SendOperator):
    """What the operators share that send a robot's message."""

    template_fields_renderers: ClassVar[dict[str, str]] = {"markdown": "md", "msg_param": "json"}

    def __init__(
        self,
        *,
        robot_code: str | None = None,
        text: str | None = None,
        title: str | None = None,
        markdown: str | None = None,
        msg_key: str | None = None,
        msg_param: Mapping[str, Any] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.robot_code = robot_code
        self.text = text
        self.title = title
        self.markdown = markdown
        self.msg_key = msg_key
        self.msg_param = msg_param


class _Links:
    """A link to the report, for a class and for a task of it; imported when somebody looks."""

    def __get__(self, task: BaseOperator | None, kind: type[BaseOperator]) -> tuple[Any, ...]:
        from airflow_provider_dingtalk.operators.links import DingTalkReportLink

        return (DingTalkReportLink(),)


class RecallOperator(PlainTexts, BaseOperator):
    """What all recall operators share.

    The report goes into the XCom ``report`` before anything is raised, and into the log as a table. If the task
    succeeds, an event of its DAG's rollback log says how many messages it took back.
    """

    ui_color = "#ffe7ba"
    operator_extra_links = _Links()

    def __init__(
        self,
        *,
        receipts: Any = None,
        dingtalk_conn_id: str = "dingtalk_default",
        fail_on: Collection[str] = DEFAULT_FAIL_ON,
        on_empty: str = "succeed",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.receipts = receipts
        self.dingtalk_conn_id = dingtalk_conn_id
        self.fail_on = fail_on
        self.on_empty = on_empty
        self._job: Any = None
        self.outlets = self._with_outlet(self.outlets, self.dag if self.has_dag() else None)  # type: ignore[no-untyped-call]

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """As of every operator."""
        made = super().partial(**kwargs)
        made.kwargs["outlets"] = cls._with_outlet(made.kwargs.get("outlets"), made.kwargs.get("dag"))
        return made

    def execute(self, context: Context) -> dict[str, Any]:
        """Recall the messages; the report is the result."""
        return self.go_on(context)

    def go_on(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Begin, or go on after a long wait in the triggerer; the ledger knows where.

        :param event: Says which wait it was.
        """
        from functools import partial

        from airflow_provider_dingtalk import execution
        from airflow_provider_dingtalk.hooks import DingTalkHook
        from airflow_provider_dingtalk.rolling_back import leave_word
        from airflow_provider_dingtalk.triggers import defer_for

        with execution.airflow_errors():
            hook = DingTalkHook(self.dingtalk_conn_id)
            with execution.report_even_so(context):
                fail_on = execution.check_choices(self.on_empty, self.fail_on)
                self._job = execution.recall_job(self._messages(hook, context), context, self.dingtalk_conn_id)
            try:
                keep = partial(leave_word, context)
                return execution.run_recall(
                    hook, self._job, context, on_empty=self.on_empty, fail_on=fail_on, keep=keep
                )
            except execution.LongWait as wait:
                defer_for(self, wait.seconds, event)

    def on_kill(self) -> None:
        """Begin no further call. Sets a flag only: talking to Airflow's supervisor here would deadlock."""
        if self._job:
            self._job.stop()

    @classmethod
    def _with_outlet(cls, outlets: Any, dag: Any) -> list[Any]:
        """Outlets as a user gives them, and those through which the task leaves word."""
        from airflow_provider_dingtalk.rollback_log import with_rollback_log

        return with_rollback_log(outlets, dag)

    def _messages(self, hook: Any, context: Context) -> list[Receipt]:
        raise NotImplementedError


class RecallOneKindOperator(RecallOperator):
    """Recalls messages of one kind, by keys or by receipts."""

    kind: ClassVar[str]
    keys_field: ClassVar[str] = "process_query_keys"

    def _messages(self, hook: Any, context: Context) -> list[Receipt]:
        from airflow_provider_dingtalk import execution
        from airflow_provider_dingtalk.messaging.receipts import SENDER_FIELDS, Kind
        from airflow_provider_dingtalk.time_zone import parse_receipts

        kind = Kind(self.kind)
        receipts = parse_receipts(self.receipts)
        execution.only_of_kind(receipts, kind)
        keys = getattr(self, self.keys_field)
        if keys is None:
            return receipts
        sender = {name: getattr(self, name, None) for name in ("robot_code", "agent_id", "open_conversation_id")}
        for name in SENDER_FIELDS[kind]:
            if sender[name] is None:
                sender |= {name: hook.defaults().get(name)}
        return execution.receipts_of_keys(kind, keys, self.keys_field, sender) + receipts


class RecallInConversationOperator(RecallOneKindOperator):
    """Recalls a robot's messages of one conversation."""

    template_fields: Sequence[str] = ("process_query_keys", "open_conversation_id", "robot_code", "receipts")

    def __init__(
        self,
        *,
        process_query_keys: Any = None,
        open_conversation_id: str | None = None,
        robot_code: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.process_query_keys = process_query_keys
        self.open_conversation_id = open_conversation_id
        self.robot_code = robot_code
