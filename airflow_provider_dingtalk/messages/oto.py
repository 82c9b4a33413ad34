"""Type of a robot's one-on-one messages."""

from __future__ import annotations

from typing import Any

from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.content import robot_message
from airflow_provider_dingtalk.client.endpoints import (
    MAX_USERS_PER_OTO_SEND,
    OtoSendResult,
    OtoStatus,
    QueryOtoMessage,
    RecallOtoMessages,
    SendOtoMessages,
)
from airflow_provider_dingtalk.messages.conditions import MessageStatus, Target
from airflow_provider_dingtalk.messages.read_status import GIVE_UP_AFTER, StatusQuery, complete
from airflow_provider_dingtalk.messages.receipt import Kind, SenderKey
from airflow_provider_dingtalk.messages.robot import RobotMessage
from airflow_provider_dingtalk.messages.send_request import SendRequest, check_flag, one_or_more, pages, required_id

#: Misspellings in samples of DingTalk's pages (documented, not observed), and the intended value.
_SPELLINGS = {"SUCESS": "SUCCESS"}


class OtoMessage(RobotMessage):
    """Type of a robot's one-on-one messages, which are recalled within 24 hours."""

    kind = Kind.OTO
    plural = "one-on-one messages"
    send_call = SendOtoMessages
    recall_call = RecallOtoMessages
    receiver_fields = ("user_ids",)
    recall_window = GIVE_UP_AFTER
    lists_recipients = True

    def send_requests(
        self, *, user_ids: Any, robot_code: Any, one_receipt_per_user: bool = False, **content: Any
    ) -> list[SendRequest]:
        """Build the send requests of a message from the robot to people.

        :param one_receipt_per_user: If True, make one call per person, so that one person's message can be
            recalled alone; default False, which means one call and one key for 20 people.
        :param content: Arguments of :func:`~airflow_provider_dingtalk.client.content.robot_message`.
        :raises InvalidInputError: If an argument is invalid, or exceeds DingTalk's limit.
        """
        message, robot = robot_message(**content), required_id(robot_code, "robot_code")
        users = one_or_more(user_ids, "user_ids")
        size = 1 if check_flag(one_receipt_per_user, "one_receipt_per_user") else MAX_USERS_PER_OTO_SEND
        return [
            self.send_request(
                SendOtoMessages(
                    robot_code=robot, user_ids=list(some), msg_key=message.msg_key, msg_param=message.msg_param
                ),
                some,
                len(some),
            )
            for some in pages(users, size)
        ]

    def undelivered(self, answer: OtoSendResult) -> dict[str, str]:
        """Return the people that DingTalk left out of an accepted send, with the reasons by user id."""
        return {
            **dict.fromkeys(answer.filtered_staff_id_list or (), "filtered"),
            **dict.fromkeys(answer.flow_controlled_staff_id_list or (), "flow_controlled"),
            **dict.fromkeys(answer.invalid_staff_id_list or (), "invalid"),
        }

    def status_request(
        self, sender_key: SenderKey, key: str, max_results: int = 1, next_token: str | None = None
    ) -> QueryOtoMessage:
        """Build the call that polls the status of a message with all readers."""
        return QueryOtoMessage(robot_code=sender_key.robot_code or "", process_query_key=key)

    def send_status(self, answer: OtoStatus) -> str | None:
        """Return DingTalk's ``sendStatus``, as its pages mean it."""
        return _SPELLINGS.get(answer.send_status or "", answer.send_status)

    async def poll(self, client: DingTalkClient, target: Target, status_query: StatusQuery) -> MessageStatus:
        """Make the one call of :meth:`read_status`."""
        status_query.before_call()
        request = self.status_request(target.sender_key, target.key)
        answer: OtoStatus = await client.call(request, status_query.used, "status")
        status = self.send_status(answer)
        if not status_query.readers:
            return MessageStatus(key=target.key, send_status=status)
        people = answer.message_read_info_list or ()
        got = frozenset(person.user_id for person in people)
        return MessageStatus(
            key=target.key,
            send_status=status,
            readers=tuple(dict.fromkeys(person.user_id for person in people if person.read_status == "READ")),
            recipients=len(got) or target.recipients,
            people=complete(got, target),
        )


TYPE = OtoMessage()
