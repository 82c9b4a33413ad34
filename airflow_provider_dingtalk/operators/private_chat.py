"""A robot's messages in chats of two people.

Everything heavy is imported inside methods: the dag-processor imports this file for every DAG file it parses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_dingtalk.operators.base import RecallInConversationOperator, RobotSendOperator


class DingTalkSendPrivateChatMessageOperator(RobotSendOperator):
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
    :param fail_on_dropped: Without effect here: DingTalk does not tell whom it leaves out.

    All other parameters are those of :class:`~airflow_provider_dingtalk.operators.base.SendOperator`.
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


class DingTalkRecallPrivateChatMessagesOperator(RecallInConversationOperator):
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
