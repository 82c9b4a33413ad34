"""Operators to send and recall a robot's messages to groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_provider_dingtalk.operators.base import RecallByRobotOperator, RobotSendOperator

if TYPE_CHECKING:
    from typing import Unpack

    from airflow_provider_dingtalk.operators.arguments import Ids, RobotRecallArguments, RobotSendArguments, Text


class DingTalkSendGroupMessageOperator(RobotSendOperator):
    """Operator to send a robot's message to one or several groups.

    https://open.dingtalk.com/document/development/the-robot-sends-a-group-message

    :param open_conversation_id: Group, or a list of groups; one call each. (templated)
    :param text: Plain text; give one of ``text``, ``markdown`` and ``msg_key``. (templated)
    :param markdown: Markdown text. (templated)
    :param title: Title of a Markdown text in the list of chats; default None, the text's first line. (templated)
    :param msg_key: Name of DingTalk's message template. (templated)
    :param msg_param: Parameters of the template, as an object or its JSON. (templated)
    :param robot_code: Code of the robot; default None, which means the connection's robot. (templated)
    :param cool_app_code: Code of the group's cool app; needed if it brought the robot into the group. (templated)
    :param fail_on_dropped: Without effect here, because DingTalk does not report the people it leaves out.

    All other parameters, and the errors, are those of
    :class:`~airflow_provider_dingtalk.operators.base.SendOperator`.
    """

    kind = "group"
    template_fields: Sequence[str] = ("open_conversation_id", "cool_app_code", *RobotSendOperator.template_fields)

    def __init__(
        self, *, open_conversation_id: Ids, cool_app_code: Text | None = None, **kwargs: Unpack[RobotSendArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.open_conversation_id = open_conversation_id
        self.cool_app_code = cool_app_code


class RecallInConversationOperator(RecallByRobotOperator):
    """Base class to recall a robot's messages of one conversation."""

    template_fields: Sequence[str] = ("process_query_keys", "open_conversation_id", "robot_code", "receipts")

    def __init__(self, *, open_conversation_id: Text | None = None, **kwargs: Unpack[RobotRecallArguments]) -> None:
        super().__init__(**kwargs)
        self.open_conversation_id = open_conversation_id


class DingTalkRecallGroupMessagesOperator(RecallInConversationOperator):
    """Operator to recall messages that a robot sent to a group.

    https://open.dingtalk.com/document/development/enterprise-chatbot-withdraws-internal-group-messages

    :param process_query_keys: Keys of the messages as a list, an XCom, or JSON of a list. (templated)
    :param open_conversation_id: Group they were sent to; needed with keys. (templated)
    :param robot_code: Code of the robot that sent them; default None, the connection's robot. (templated)
    :param receipts: Receipts of group messages, instead of keys or in addition to them. (templated)
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``; default ``dingtalk_default``.
    :param fail_on: Outcomes that fail the task; default ``failed``, ``expired`` and ``unknown``.
    :param on_empty: Result with nothing to recall: ``succeed``, ``skip`` or ``fail``; default ``succeed``.
    """

    kind = "group"
