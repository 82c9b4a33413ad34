"""Operators to send and recall DINGs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_provider_dingtalk.operators.base import RecallOneKindOperator, SendOperator

if TYPE_CHECKING:
    from typing import Unpack

    from airflow_provider_dingtalk.operators.arguments import Ids, RecallArguments, SendArguments, Text


class DingTalkSendDingOperator(SendOperator):
    """Operator to send a DING in the app, by SMS or telephone.

    https://open.dingtalk.com/document/development/robot-sends-nail-message

    :param user_ids: User ids as a list, an XCom, or JSON of a list; 200 a call, 20 by SMS or telephone.
        (templated)
    :param text: Plain text, required. (templated)
    :param remind_type: ``app``, ``sms`` or ``phone``; default ``app``. The others cost DING credits. (templated)
    :param call_voice: Voice of a DING by telephone, as DingTalk names it; default None. (templated)
    :param robot_code: Code of the robot; default None, which means the connection's robot. (templated)
    :param content: Deprecated alias of ``text``; give only one of them. (templated)

    All other parameters, and the errors, are those of
    :class:`~airflow_provider_dingtalk.operators.base.SendOperator`.
    """

    kind = "ding"
    template_fields: Sequence[str] = ("user_ids", "text", "remind_type", "call_voice", "robot_code", "content")

    def __init__(
        self,
        *,
        user_ids: Ids,
        text: Text | None = None,
        remind_type: Text = "app",
        call_voice: Text | None = None,
        robot_code: Text | None = None,
        content: Text | None = None,
        **kwargs: Unpack[SendArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.user_ids = user_ids
        self.text = text
        self.remind_type = remind_type
        self.call_voice = call_voice
        self.robot_code = robot_code
        self.content = content


class DingTalkRecallDingOperator(RecallOneKindOperator):
    """Operator to recall DINGs, one call each.

    https://open.dingtalk.com/document/development/robot-withdraws-pin-message

    :param open_ding_ids: Ids of the DINGs as a list, an XCom, or JSON of a list. (templated)
    :param robot_code: Code of the robot that sent them; default None, the connection's robot. (templated)
    :param receipts: Receipts of DINGs, instead of ids or in addition to them. (templated)
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``; default ``dingtalk_default``.
    :param fail_on: Outcomes that fail the task; default ``failed``, ``expired`` and ``unknown``.
    :param on_empty: Result with nothing to recall: ``succeed``, ``skip`` or ``fail``; default ``succeed``.
    """

    kind = "ding"
    template_fields: Sequence[str] = ("open_ding_ids", "robot_code", "receipts")

    def __init__(
        self, *, open_ding_ids: Ids | None = None, robot_code: Text | None = None, **kwargs: Unpack[RecallArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.open_ding_ids = open_ding_ids
        self.robot_code = robot_code
