"""Operators to send and recall work notifications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from airflow_provider_dingtalk.operators.base import RecallOneKindOperator, SendOperator

if TYPE_CHECKING:
    from typing import Unpack

    from airflow_provider_dingtalk.operators import arguments


class DingTalkSendWorkNotificationOperator(SendOperator):
    """Operator to send a work notification to people, departments or the organisation.

    DingTalk sends it in the background.
    https://open.dingtalk.com/document/development/asynchronous-sending-of-enterprise-session-messages

    :param user_ids: User ids as a list, an XCom, or JSON of a list; 100 a call. (templated)
    :param dept_ids: Department ids in the same forms, each with all below it; 20 a call. (templated)
    :param to_all_user: Send to the whole organisation instead; default False. (templated)
    :param text: Plain text; give one of ``text``, ``markdown`` and ``msg``. (templated)
    :param markdown: Markdown text. (templated)
    :param title: Title of a Markdown text in the list of chats; default None, the text's first line. (templated)
    :param msg: DingTalk's message object with its ``msgtype``. (templated)
    :param agent_id: Id of the app to send as; default None, which means the connection's app. (templated)
    :param fail_on_dropped: Without effect here, because DingTalk reports the people it leaves out only later.

    All other parameters, and the errors, are those of
    :class:`~airflow_provider_dingtalk.operators.base.SendOperator`.
    """

    kind = "work_notification"
    template_fields: Sequence[str] = (
        *("user_ids", "dept_ids", "to_all_user", "agent_id"),
        *("text", "title", "markdown", "msg"),
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"markdown": "md", "msg": "json"}

    def __init__(
        self,
        *,
        user_ids: arguments.Ids | None = None,
        dept_ids: arguments.NumericIds | None = None,
        to_all_user: arguments.Flag = False,
        agent_id: arguments.Number | None = None,
        text: arguments.Text | None = None,
        title: arguments.Text | None = None,
        markdown: arguments.Text | None = None,
        msg: arguments.Json | None = None,
        **kwargs: Unpack[arguments.SendArguments],
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


class DingTalkRecallWorkNotificationOperator(RecallOneKindOperator):
    """Operator to recall work notifications from all receivers, within 24 hours.

    DingTalk answers for the whole notification, and has no query for one person's outcome.
    https://open.dingtalk.com/document/development/notification-of-work-withdrawal

    :param msg_task_id: ``task_id`` of the send, or a list of them. (templated)
    :param agent_id: Id of the app that sent it; default None, the connection's app. (templated)
    :param receipts: Receipts of work notifications, instead of ids or in addition to them. (templated)
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``; default ``dingtalk_default``.
    :param fail_on: Outcomes that fail the task; default ``failed``, ``expired`` and ``unknown``.
    :param on_empty: Result with nothing to recall: ``succeed``, ``skip`` or ``fail``; default ``succeed``.
    """

    kind = "work_notification"
    template_fields: Sequence[str] = ("msg_task_id", "agent_id", "receipts")

    def __init__(
        self,
        *,
        msg_task_id: arguments.NumericIds | None = None,
        agent_id: arguments.Number | None = None,
        **kwargs: Unpack[arguments.RecallArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.msg_task_id = msg_task_id
        self.agent_id = agent_id
