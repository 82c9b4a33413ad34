"""Operators to send and recall a robot's one-on-one messages.

Heavy modules are imported inside methods, because the dag-processor imports this file for every DAG file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_dingtalk.operators.base import RecallOneKindOperator, RobotSendOperator


class DingTalkSendOTOMessagesOperator(RobotSendOperator):
    """Operator to send a robot's message to people in one-on-one chats.

    One call, with one message key, serves 20 people.
    https://open.dingtalk.com/document/development/chatbots-send-one-on-one-chat-messages-in-batches

    :param user_ids: User ids as a list, an XCom, or JSON of a list. (templated)
    :param one_receipt_per_user: Make one call for each person, so that each message can be recalled alone; default
        False. (templated)
    :param text: Plain text; give one of ``text``, ``markdown`` and ``msg_key``. (templated)
    :param markdown: Markdown text. (templated)
    :param title: Title of a Markdown text in the list of chats; default None, the text's first line. (templated)
    :param msg_key: Name of DingTalk's message template. (templated)
    :param msg_param: Parameters of the template, as an object or its JSON. (templated)
    :param robot_code: Code of the robot; default None, which means the connection's robot. (templated)
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``; default ``dingtalk_default``.
    :param fail_on_dropped: Fail the task if DingTalk leaves people out, because they are unknown, throttled or
        filtered; default False.

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
    """Operator to recall a robot's one-on-one messages, within 24 hours.

    https://open.dingtalk.com/document/development/batch-message-recall-chat

    :param process_query_keys: Keys of the messages as a list, an XCom, or JSON of a list. (templated)
    :param robot_code: Code of the robot that sent them; default None, the connection's robot. (templated)
    :param receipts: Receipts of such messages, instead of keys or in addition to them. (templated)
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``; default ``dingtalk_default``.
    :param fail_on: Outcomes that fail the task; default ``failed``, ``expired`` and ``unknown``.
    :param on_empty: Result with nothing to recall: ``succeed``, ``skip`` or ``fail``; default ``succeed``.
    """

    kind = "oto"
    template_fields: Sequence[str] = ("process_query_keys", "robot_code", "receipts")

    def __init__(self, *, process_query_keys: Any = None, robot_code: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.process_query_keys = process_query_keys
        self.robot_code = robot_code
