"""A robot's messages to people, each in their chat with it.

Everything heavy is imported inside methods: the dag-processor imports this file for every DAG file it parses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_dingtalk.operators.base import RecallOneKindOperator, RobotSendOperator


class DingTalkSendOTOMessagesOperator(RobotSendOperator):
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

    All other parameters are those of :class:`~airflow_provider_dingtalk.operators.base.SendOperator`.
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


class DingTalkRecallOTOMessagesOperator(RecallOneKindOperator):
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
