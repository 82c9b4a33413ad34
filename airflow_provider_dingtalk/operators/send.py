"""Operators that send messages which can be taken back. Each returns a list of receipts.

Receipts are pushed the moment DingTalk answers, under ``receipts_0``, ``receipts_1``, … (100 each) with
``receipts_count``, so that a send that dies half-way can be rolled back.

Everything heavy is imported inside methods: the dag-processor imports this file for every DAG file it parses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_dingtalk.messaging.send import Send


#: Arguments that say yes or no: a template renders them as text, and the text ``"False"`` counts as true.
_FLAGS = ("one_receipt_per_user", "to_all_user")


class _SendOperator(BaseOperator):
    """What all send operators share.

    On Airflow 3.3 and later a retry sends only what is missing, and publishes the receipts of earlier tries.

    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``.
    :param fail_on_dropped: Fail the task if DingTalk leaves people out: unknown, throttled, filtered ones.
    :param on_unknown_send: A call that was under way when a try died may have sent, and DingTalk has no
        idempotency key: ``fail`` (list it in the XCom ``unknown``), ``skip`` (list it and go on), ``resend``.
    :param on_cleared_send: The task had sent everything when it was cleared: ``fail``, ``resend``, or ``keep``.
    :param allow_resend: Below Airflow 3.3, which keeps no record: let a second try send all of it again.
    :param rollbacks: Ids of tasks that take back what it sends; :func:`rollback_on_failure` fills it in.
    """

    kind: ClassVar[str]
    ui_color = "#d6eaff"

    def __init__(
        self,
        *,
        dingtalk_conn_id: str = "dingtalk_default",
        fail_on_dropped: bool = False,
        on_unknown_send: str = "fail",
        on_cleared_send: str = "fail",
        allow_resend: bool = False,
        rollbacks: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dingtalk_conn_id = dingtalk_conn_id
        self.fail_on_dropped = fail_on_dropped
        self.on_unknown_send = on_unknown_send
        self.on_cleared_send = on_cleared_send
        self.allow_resend = allow_resend
        self.rollbacks = rollbacks
        self._job: Send | None = None

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
            on_unknown_send=self.on_unknown_send,
            on_cleared_send=self.on_cleared_send,
            allow_resend=self.allow_resend,
        )
        with airflow_errors():
            hook = DingTalkHook(self.dingtalk_conn_id)
            sending = Sending(hook.letters(self.kind, **self._arguments()), context, policy, self.rollbacks)
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


class _RobotSendOperator(_SendOperator):
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


class DingTalkSendGroupMessageOperator(_RobotSendOperator):
    """Send a robot's message to one or several groups.

    https://open.dingtalk.com/document/development/the-robot-sends-a-group-message

    :param open_conversation_id: The group, or a list of groups. (templated)
    :param text: A plain text; or (templated)
    :param markdown: a Markdown text; or (templated)
    :param title: Of a Markdown text, for the list of chats; by default its first line. (templated)
    :param msg_key: DingTalk's template, by name. (templated)
    :param msg_param: The template's parameters: an object, or JSON of one. (templated)
    :param robot_code: The robot; by default the connection's. (templated)
    :param cool_app_code: Needed where a group cool app brought the robot into the group. (templated)
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``.
    :param fail_on_dropped: Fail the task if DingTalk leaves people out.
    """

    kind = "group"
    template_fields: Sequence[str] = (
        "open_conversation_id",
        "robot_code",
        "cool_app_code",
        "text",
        "title",
        "markdown",
        "msg_key",
        "msg_param",
    )

    def __init__(self, *, open_conversation_id: Any, cool_app_code: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.open_conversation_id = open_conversation_id
        self.cool_app_code = cool_app_code


class DingTalkSendOTOMessagesOperator(_RobotSendOperator):
    """Send a robot's message to people, each in their chat with the robot: one call, and one key, for 20.

    https://open.dingtalk.com/document/development/chatbots-send-one-on-one-chat-messages-in-batches

    :param user_ids: User ids: a list, an XCom, or JSON of a list. (templated)
    :param one_receipt_per_user: One call each, so that one person's message can be recalled alone. (templated)
    :param text: A plain text; or (templated)
    :param markdown: a Markdown text; or (templated)
    :param title: Of a Markdown text, for the list of chats; by default its first line. (templated)
    :param msg_key: DingTalk's template, by name. (templated)
    :param msg_param: The template's parameters: an object, or JSON of one. (templated)
    :param robot_code: The robot; by default the connection's. (templated)
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``.
    :param fail_on_dropped: Fail the task if DingTalk leaves people out: unknown, throttled, filtered ones.
    """

    kind = "oto"
    template_fields: Sequence[str] = (
        "user_ids",
        "robot_code",
        "one_receipt_per_user",
        "text",
        "title",
        "markdown",
        "msg_key",
        "msg_param",
    )

    def __init__(self, *, user_ids: Any, one_receipt_per_user: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.user_ids = user_ids
        self.one_receipt_per_user = one_receipt_per_user


class DingTalkSendPrivateChatMessageOperator(_RobotSendOperator):
    """Send a robot's message into a chat of two people, where the robot's cool app is in use.

    https://open.dingtalk.com/document/development/the-robot-sends-ordinary-messages-in-a-person-to-person-conversation

    :param open_conversation_id: The chat, or a list of chats. (templated)
    :param cool_app_code: The cool app that brought the robot into the chat. (templated)
    :param text: A plain text; or (templated)
    :param markdown: a Markdown text; or (templated)
    :param title: Of a Markdown text, for the list of chats; by default its first line. (templated)
    :param msg_key: DingTalk's template, by name. (templated)
    :param msg_param: The template's parameters: an object, or JSON of one. (templated)
    :param robot_code: The robot; by default the connection's. (templated)
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``.
    :param fail_on_dropped: Fail the task if DingTalk leaves people out.
    """

    kind = "private_chat"
    template_fields: Sequence[str] = (
        "open_conversation_id",
        "cool_app_code",
        "robot_code",
        "text",
        "title",
        "markdown",
        "msg_key",
        "msg_param",
    )

    def __init__(self, *, open_conversation_id: Any, cool_app_code: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.open_conversation_id = open_conversation_id
        self.cool_app_code = cool_app_code


class DingTalkSendWorkNotificationOperator(_SendOperator):
    """Send a work notification, in the background of DingTalk, to people, departments, or everybody.

    https://open.dingtalk.com/document/development/asynchronous-sending-of-enterprise-session-messages

    :param user_ids: User ids: a list, an XCom, or JSON of a list; 100 a call. (templated)
    :param dept_ids: Department ids, each with all below it; 20 a call. (templated)
    :param to_all_user: Send to the whole organisation instead. (templated)
    :param text: A plain text; or (templated)
    :param markdown: a Markdown text; or (templated)
    :param title: Of a Markdown text, for the list of chats; by default its first line. (templated)
    :param msg: DingTalk's message object with its ``msgtype``. (templated)
    :param agent_id: The app to send as; by default the connection's. (templated)
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``.
    :param fail_on_dropped: Fail the task if DingTalk leaves people out; it tells only later, so never here.
    """

    kind = "work_notification"
    template_fields: Sequence[str] = (
        "user_ids",
        "dept_ids",
        "to_all_user",
        "agent_id",
        "text",
        "title",
        "markdown",
        "msg",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"markdown": "md", "msg": "json"}

    def __init__(
        self,
        *,
        user_ids: Any = None,
        dept_ids: Any = None,
        to_all_user: bool = False,
        agent_id: str | int | None = None,
        text: str | None = None,
        title: str | None = None,
        markdown: str | None = None,
        msg: Mapping[str, Any] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.user_ids = user_ids
        self.dept_ids = dept_ids
        self.to_all_user = to_all_user
        self.agent_id = agent_id
        self.text = text
        self.title = title
        self.markdown = markdown
        self.msg = msg


class DingTalkSendDingOperator(_SendOperator):
    """Send a DING: in the app, by SMS, or by telephone.

    https://open.dingtalk.com/document/development/robot-sends-nail-message

    :param user_ids: User ids: a list, an XCom, or JSON of a list; 200 a call, 20 by SMS or telephone. (templated)
    :param content: The text. (templated)
    :param remind_type: ``app``, ``sms`` or ``phone``; the latter two cost DING credits. (templated)
    :param call_voice: Voice of a DING by telephone, in DingTalk's words. (templated)
    :param robot_code: The robot; by default the connection's. (templated)
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``.
    :param fail_on_dropped: Fail the task if DingTalk leaves people out.
    """

    kind = "ding"
    template_fields: Sequence[str] = ("user_ids", "content", "remind_type", "call_voice", "robot_code")

    def __init__(
        self,
        *,
        user_ids: Any,
        content: str,
        remind_type: str = "app",
        call_voice: str | None = None,
        robot_code: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.user_ids = user_ids
        self.content = content
        self.remind_type = remind_type
        self.call_voice = call_voice
        self.robot_code = robot_code
