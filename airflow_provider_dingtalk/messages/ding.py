"""Type of DINGs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_dingtalk.client.content import check_text
from airflow_provider_dingtalk.client.endpoints import (
    MAX_USERS_PER_APP_DING,
    MAX_USERS_PER_PHONE_DING,
    DingResult,
    RecallDing,
    SendDing,
)
from airflow_provider_dingtalk.exceptions import InvalidInputError, shown
from airflow_provider_dingtalk.messages.base import MessageType
from airflow_provider_dingtalk.messages.receipt import Kind, SenderKey, parse_id
from airflow_provider_dingtalk.messages.send_request import SendRequest, one_or_more, pages, required_id

#: ``remind_type`` of a DING by name.
REMIND_TYPES = {"app": 1, "sms": 2, "phone": 3}


class Ding(MessageType):
    """Type of DINGs, which are recalled one by one, and have no status."""

    kind = Kind.DING
    plural = "DINGs"
    key_field = key_argument = "open_ding_id"
    keys_argument = "open_ding_ids"
    send_call = SendDing
    receiver_fields = ("receiver_user_id_list",)
    has_status = False
    status_tells_recall = False

    def send_requests(
        self,
        *,
        user_ids: Any,
        robot_code: Any,
        text: str | None = None,
        remind_type: str = "app",
        call_voice: str | None = None,
        content: str | None = None,
    ) -> list[SendRequest]:
        """Build the send requests of a DING to people.

        :param text: Plain text; required.
        :param remind_type: ``app`` (default), ``sms`` or ``phone``; the latter two cost DING credits.
        :param call_voice: DingTalk's name of the voice of a DING by telephone.
        :param content: Deprecated alias of ``text``.
        :raises InvalidInputError: If an argument is invalid, or exceeds DingTalk's limit.
        """
        if text is not None and content is not None:
            raise InvalidInputError("content", "is the former name of text; give only text")
        if not isinstance(remind_type, str) or remind_type not in REMIND_TYPES:
            raise InvalidInputError("remind_type", f"is {shown(remind_type)}; use one of {', '.join(REMIND_TYPES)}")
        field, words = ("text", text) if content is None else ("content", content)
        if words is None:
            raise InvalidInputError("text", "is missing")
        checked = check_text(words, field)
        if not checked:
            raise InvalidInputError(field, "is blank")
        robot = required_id(robot_code, "robot_code")
        most = MAX_USERS_PER_APP_DING if remind_type == "app" else MAX_USERS_PER_PHONE_DING
        calls = [
            SendDing(
                robot_code=robot,
                remind_type=REMIND_TYPES[remind_type],
                receiver_user_id_list=list(users),
                content=checked,
                call_voice=None if call_voice is None else parse_id(call_voice, "call_voice"),
            )
            for users in pages(one_or_more(user_ids, "user_ids"), most)
        ]
        return [self.send_request(call, (to := call.receiver_user_id_list), len(to)) for call in calls]

    def undelivered(self, answer: DingResult) -> dict[str, str]:
        """Return the people that DingTalk left out of an accepted send, with the reasons by user id."""
        return {user: reason for reason, users in (answer.failed_list or {}).items() for user in users}

    def recall_request(self, sender_key: SenderKey, keys: Sequence[str]) -> RecallDing:
        """Build the call that recalls one DING."""
        return RecallDing(robot_code=sender_key.robot_code or "", open_ding_id=keys[0])

    def recall_lists(self, keys: Sequence[str], answer: DingResult) -> tuple[tuple[str], dict[str, str]]:
        """Return the key that the answer to a recall names."""
        return (answer.open_ding_id,), {}


TYPE = Ding()
