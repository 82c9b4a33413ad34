"""Operators that take messages back, one for each kind of recall.

Everything heavy is imported inside methods: the dag-processor imports this file for every DAG file it parses.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_dingtalk.messaging.receipts import Receipt

DEFAULT_FAIL_ON = frozenset({"failed", "expired", "unknown"})


class _Links:
    """A link to the report, for a class and for a task of it; imported when somebody looks."""

    def __get__(self, task: BaseOperator | None, kind: type[BaseOperator]) -> tuple[Any, ...]:
        from airflow_provider_dingtalk.operators.links import DingTalkReportLink

        return (DingTalkReportLink(),)


class _RecallOperator(BaseOperator):
    """What all recall operators share.

    The report goes into the XCom ``report`` before anything is raised, and into the log as a table. If the task
    succeeds, an event of its DAG's outbox says how many messages it took back.
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
            fail_on = execution.check_choices(self.on_empty, self.fail_on)
            hook = DingTalkHook(self.dingtalk_conn_id)
            with execution.report_even_so(context):
                self._job = execution.recall_job(self._messages(hook, context), context)
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
        from airflow_provider_dingtalk.outbox import with_outbox

        return with_outbox(outlets, dag)

    def _messages(self, hook: Any, context: Context) -> list[Receipt]:
        raise NotImplementedError


class _RecallOneKindOperator(_RecallOperator):
    """Recalls messages of one kind, by keys or by receipts."""

    kind: ClassVar[str]
    keys_field: ClassVar[str] = "process_query_keys"

    def _messages(self, hook: Any, context: Context) -> list[Receipt]:
        from airflow_provider_dingtalk import execution
        from airflow_provider_dingtalk.messaging.receipts import SENDER_FIELDS, Kind, parse_receipts

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


class _RecallInConversationOperator(_RecallOneKindOperator):
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


class DingTalkRecallGroupMessagesOperator(_RecallInConversationOperator):
    """Recall messages that a robot sent to a group.

    https://open.dingtalk.com/document/development/enterprise-chatbot-withdraws-internal-group-messages

    :param process_query_keys: Keys of the messages: a list, an XCom, or JSON of a list. (templated)
    :param open_conversation_id: The group they were sent to; needed with keys. (templated)
    :param robot_code: The robot that sent them; by default the connection's. (templated)
    :param receipts: Receipts of group messages, instead of keys or beside them. (templated)
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``.
    :param fail_on: Fail the task if a message ends in one of these classes: ``failed``, ``expired``, ``unknown``.
    :param on_empty: With nothing to recall: ``succeed``, ``skip`` or ``fail``.
    """

    kind = "group"


class DingTalkRecallOTOMessagesOperator(_RecallOneKindOperator):
    """Recall messages that a robot sent to people, each in their chat with the robot, within 24 hours.

    https://open.dingtalk.com/document/development/batch-message-recall-chat

    :param process_query_keys: Keys of the messages: a list, an XCom, or JSON of a list. (templated)
    :param robot_code: The robot that sent them; by default the connection's. (templated)
    :param receipts: Receipts of such messages, instead of keys or beside them. (templated)
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``.
    :param fail_on: Fail the task if a message ends in one of these classes: ``failed``, ``expired``, ``unknown``.
    :param on_empty: With nothing to recall: ``succeed``, ``skip`` or ``fail``.
    """

    kind = "oto"
    template_fields: Sequence[str] = ("process_query_keys", "robot_code", "receipts")

    def __init__(self, *, process_query_keys: Any = None, robot_code: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.process_query_keys = process_query_keys
        self.robot_code = robot_code


class DingTalkRecallPrivateChatMessagesOperator(_RecallInConversationOperator):
    """Recall messages that a robot sent into a chat of two people.

    https://open.dingtalk.com/document/development/batch-withdrawal-of-single-chat-robot-messages-in-person-to-person-conversations

    :param process_query_keys: Keys of the messages: a list, an XCom, or JSON of a list. (templated)
    :param open_conversation_id: The chat they were sent to; needed with keys. (templated)
    :param robot_code: The robot that sent them; by default the connection's. (templated)
    :param receipts: Receipts of such messages, instead of keys or beside them. (templated)
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``.
    :param fail_on: Fail the task if a message ends in one of these classes: ``failed``, ``expired``, ``unknown``.
    :param on_empty: With nothing to recall: ``succeed``, ``skip`` or ``fail``.
    """

    kind = "private_chat"


class DingTalkRecallWorkNotificationOperator(_RecallOneKindOperator):
    """Recall work notifications, each from all its receivers, within 24 hours.

    DingTalk answers for the whole notification; what became of it for one person cannot be asked.
    https://open.dingtalk.com/document/development/notification-of-work-withdrawal

    :param msg_task_id: ``task_id`` of the send, or a list of them. (templated)
    :param agent_id: The app that sent it; by default the connection's. (templated)
    :param receipts: Receipts of work notifications, instead of ids or beside them. (templated)
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``.
    :param fail_on: Fail the task if a message ends in one of these classes: ``failed``, ``expired``, ``unknown``.
    :param on_empty: With nothing to recall: ``succeed``, ``skip`` or ``fail``.
    """

    kind = "work_notification"
    keys_field = "msg_task_id"
    template_fields: Sequence[str] = ("msg_task_id", "agent_id", "receipts")

    def __init__(self, *, msg_task_id: Any = None, agent_id: str | int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.msg_task_id = msg_task_id
        self.agent_id = agent_id


class DingTalkRecallDingOperator(_RecallOneKindOperator):
    """Recall DINGs, one call each.

    https://open.dingtalk.com/document/development/robot-withdraws-pin-message

    :param open_ding_ids: Ids of the DINGs: a list, an XCom, or JSON of a list. (templated)
    :param robot_code: The robot that sent them; by default the connection's. (templated)
    :param receipts: Receipts of DINGs, instead of ids or beside them. (templated)
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``.
    :param fail_on: Fail the task if a message ends in one of these classes: ``failed``, ``expired``, ``unknown``.
    :param on_empty: With nothing to recall: ``succeed``, ``skip`` or ``fail``.
    """

    kind = "ding"
    keys_field = "open_ding_ids"
    template_fields: Sequence[str] = ("open_ding_ids", "robot_code", "receipts")

    def __init__(self, *, open_ding_ids: Any = None, robot_code: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.open_ding_ids = open_ding_ids
        self.robot_code = robot_code
