"""Endpoints of DINGs: send and recall."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from airflow_provider_dingtalk.client.endpoints.base import Answer, Endpoint, Http, Idempotency, Text

#: DingTalk's limits on receivers of one DING, in the app, and by SMS or telephone.
MAX_USERS_PER_APP_DING = 200
MAX_USERS_PER_PHONE_DING = 20


class DingResult(Answer, kw_only=True, frozen=True):
    """Answer to a send or recall of a DING. ``failed_list`` (send only) holds receivers by reason."""

    open_ding_id: Text
    failed_list: dict[str, list[str]] | None = None


class RecallDing(Endpoint[DingResult], kw_only=True, frozen=True):
    """Request to recall a DING, by the robot that sent it. No recall window is documented."""

    http: ClassVar = Http("/v1.0/robot/ding/recall", "robot-withdraws-pin-message", idempotency=Idempotency.RECALL)
    result: ClassVar = DingResult

    robot_code: Text
    open_ding_id: Text


class SendDing(Endpoint[DingResult], kw_only=True, frozen=True):
    """Request to send a DING. ``remind_type`` is 1 in the app, 2 by SMS, 3 by telephone."""

    http: ClassVar = Http("/v1.0/robot/ding/send", "robot-sends-nail-message", idempotency=Idempotency.SEND)
    result: ClassVar = DingResult

    robot_code: Text
    remind_type: Annotated[int, Meta(ge=1, le=3)]
    receiver_user_id_list: Annotated[list[Text], Meta(min_length=1, max_length=MAX_USERS_PER_APP_DING)]
    content: Text
    call_voice: Text | None = None
