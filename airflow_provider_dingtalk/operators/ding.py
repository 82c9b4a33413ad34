"""Operators to send and recall DINGs.

Heavy modules are imported inside methods, because the dag-processor imports this file for every DAG file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_dingtalk.operators.base import RecallOneKindOperator, SendOperator


class DingTalkSendDingOperator(SendOperator):
    """Operator to send a DING in the app, by SMS or telephone.

    https://open.dingtalk.com/document/development/robot-sends-nail-message

    :param user_ids: User ids as a list, an XCom, or JSON of a list; 200 a call, 20 by SMS or telephone.
        (templated)
    :param content: Text. (templated)
    :param remind_type: ``app``, ``sms`` or ``phone``; default ``app``. The others cost DING credits. (templated)
    :param call_voice: Voice of a DING by telephone, as DingTalk names it; default None. (templated)
    :param robot_code: Code of the robot; default None, which means the connection's robot. (templated)
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``; default ``dingtalk_default``.
    :param fail_on_dropped: Fail the task if DingTalk leaves people out; default False.

    All other parameters are those of :class:`~airflow_provider_dingtalk.operators.base.SendOperator`.
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
    keys_field = "open_ding_ids"
    template_fields: Sequence[str] = ("open_ding_ids", "robot_code", "receipts")

    def __init__(self, *, open_ding_ids: Any = None, robot_code: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.open_ding_ids = open_ding_ids
        self.robot_code = robot_code
