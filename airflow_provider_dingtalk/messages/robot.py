"""Robot messages: what their types share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.content import robot_message
from airflow_provider_dingtalk.client.endpoints import MAX_KEYS_PER_RECALL, Endpoint, RecallResult
from airflow_provider_dingtalk.exceptions import StatusUnavailableError
from airflow_provider_dingtalk.messages.base import MessageType
from airflow_provider_dingtalk.messages.conditions import MessageStatus, Target
from airflow_provider_dingtalk.messages.read_status import StatusQuery, is_old, read_all_pages
from airflow_provider_dingtalk.messages.receipt import SenderKey
from airflow_provider_dingtalk.messages.send_request import SendRequest, one_or_more, required_id


class RobotMessage(MessageType):
    """Type of robot messages, which are recalled in batches with a result for each key."""

    content_arguments = ("text", "title", "markdown", "msg_key", "msg_param")
    batch_size = MAX_KEYS_PER_RECALL
    recall_call: ClassVar[type[Endpoint[RecallResult]]]

    def recall_request(self, sender_key: SenderKey, keys: Sequence[str]) -> Endpoint[RecallResult]:
        """Build the call that recalls messages of one sender, at most 20."""
        sender = {name: getattr(sender_key, name) or "" for name in self.sender_fields}
        return self.recall_call(**sender, process_query_keys=list(keys))

    def recall_lists(self, keys: Sequence[str], answer: RecallResult) -> tuple[Collection[str], Mapping[str, str]]:
        """Return the recalled keys, and the reasons by failed key, of the answer to a recall."""
        return frozenset(answer.success_result or ()), answer.reasons()

    async def read_status(self, client: DingTalkClient, target: Target, status_query: StatusQuery) -> MessageStatus:
        """Poll a message's status, with its readers from all pages; see :meth:`MessageType.read_status`."""
        try:
            return await self.poll(client, target, status_query)
        except StatusUnavailableError:
            if is_old(target, status_query):
                raise
            return MessageStatus(key=target.key, send_status=None)

    async def poll(self, client: DingTalkClient, target: Target, status_query: StatusQuery) -> MessageStatus:
        """Make the calls of :meth:`read_status`."""
        raise NotImplementedError


class ConversationMessage(RobotMessage):
    """Type of robot messages to a conversation, whose readers DingTalk lists in pages.

    DingTalk's pages call robot and conversation of a query optional.
    https://open.dingtalk.com/document/development/query-the-read-list-of-robot-messages-in-person-to-person-conversations
    """

    sender_fields = ("robot_code", "open_conversation_id")
    receiver_fields = ("open_conversation_id",)
    is_polled_by_key = True
    status_call: ClassVar[type[Endpoint[Any]]]
    needs_cool_app: ClassVar[bool] = False

    def send_requests(
        self, *, open_conversation_id: Any, robot_code: Any, cool_app_code: Any = None, **content: Any
    ) -> list[SendRequest]:
        """Build the send requests of a message to one or several conversations.

        :param open_conversation_id: One conversation, or a list of them.
        :param cool_app_code: Code of the cool app; required in private chats, and in groups to which the app added
            the robot.
        :param content: Arguments of :func:`~airflow_provider_dingtalk.client.content.robot_message`.
        :raises InvalidInputError: If an argument is invalid, or exceeds DingTalk's limit.
        """
        message, robot = robot_message(**content), required_id(robot_code, "robot_code")
        is_given = self.needs_cool_app or cool_app_code is not None
        app = required_id(cool_app_code, "cool_app_code") if is_given else None
        return [
            self.send_request(
                self.send_call(
                    msg_key=message.msg_key,
                    msg_param=message.msg_param,
                    open_conversation_id=conversation,
                    robot_code=robot,
                    cool_app_code=app,
                ),
                to=(conversation,),
            )
            for conversation in one_or_more(open_conversation_id, "open_conversation_id")
        ]

    def status_request(
        self, sender_key: SenderKey, key: str, max_results: int = 1, next_token: str | None = None
    ) -> Endpoint[Any]:
        """Build the call that polls the status of a message, with a page of readers."""
        return self.status_call(
            process_query_key=key,
            open_conversation_id=sender_key.open_conversation_id,
            robot_code=sender_key.robot_code,
            max_results=max_results,
            next_token=next_token,
        )

    async def poll(self, client: DingTalkClient, target: Target, status_query: StatusQuery) -> MessageStatus:
        """Make the calls of :meth:`read_status`, one for each page of readers."""
        return await read_all_pages(
            client, target, status_query, lambda *page: self.status_request(target.sender_key, target.key, *page)
        )
