"""Work notifications.

Everything heavy is imported inside methods: the dag-processor imports this file for every DAG file it parses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from airflow_provider_dingtalk.operators.base import RecallOneKindOperator, SendOperator


class DingTalkSendWorkNotificationOperator(SendOperator):
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

    All other parameters are those of :class:`~airflow_provider_dingtalk.operators.base.SendOperator`.
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


class DingTalkRecallWorkNotificationOperator(RecallOneKindOperator):
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
