"""Operators to send and recall a robot's one-on-one messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_provider_dingtalk.operators.base import RecallByRobotOperator, RobotSendOperator

if TYPE_CHECKING:
    from typing import Unpack

    from airflow_provider_dingtalk.operators.arguments import Flag, Ids, RobotSendArguments


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

    All other parameters, and the errors, are those of
    :class:`~airflow_provider_dingtalk.operators.base.SendOperator`.
    """

    kind = "oto"
    template_fields: Sequence[str] = ("user_ids", "one_receipt_per_user", *RobotSendOperator.template_fields)

    def __init__(
        self, *, user_ids: Ids, one_receipt_per_user: Flag = False, **kwargs: Unpack[RobotSendArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.user_ids = user_ids
        self.one_receipt_per_user = one_receipt_per_user


class DingTalkRecallOTOMessagesOperator(RecallByRobotOperator):
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
