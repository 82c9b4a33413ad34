"""A robot's messages to groups.

Everything heavy is imported inside methods: the dag-processor imports this file for every DAG file it parses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_dingtalk.operators.base import RecallInConversationOperator, RobotSendOperator


class DingTalkSendGroupMessageOperator(RobotSendOperator):
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
    :param fail_on_dropped: Without effect here: DingTalk does not tell whom it leaves out.

    All other parameters are those of :class:`~airflow_provider_dingtalk.operators.base.SendOperator`.
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


class DingTalkRecallGroupMessagesOperator(RecallInConversationOperator):
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
