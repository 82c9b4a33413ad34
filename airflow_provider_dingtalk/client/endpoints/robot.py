"""Endpoints that send, query and recall messages of a robot."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from airflow_provider_dingtalk.client.endpoints.base import Answer, Endpoint, Http, Idempotency, Text

#: DingTalk's limit on message keys in one recall call.
MAX_KEYS_PER_RECALL = 20
#: DingTalk's limit on receivers in one one-on-one send. The error text of the same page still says 100.
MAX_USERS_PER_OTO_SEND = 20
#: DingTalk's limit on readers in one page of a status query.
MAX_RESULTS_PER_PAGE = 200
#: DingTalk's limit on ``msgParam``, in bytes. Documented on the page of the group send only.
MAX_MSG_PARAM_BYTES = 15_000

Keys = Annotated[list[Text], Meta(min_length=1, max_length=MAX_KEYS_PER_RECALL)]
PageSize = Annotated[int, Meta(ge=1, le=MAX_RESULTS_PER_PAGE)]


class FailedKey(Struct, kw_only=True, frozen=True, rename="camel"):
    """Entry of ``failedResult`` in its list form. Users report it; DingTalk does not document it."""

    process_query_key: str | None = None
    key: str | None = None
    code: str | None = None
    message: str | None = None
    reason: str | None = None


class RecallResult(Answer, kw_only=True, frozen=True):
    """Answer to a recall, with recalled messages and failed messages.

    :param success_result: Keys of the recalled messages.
    :param failed_result: Reason by key. DingTalk documents a map; a list is accepted too.
    """

    success_result: list[str] | None = None
    failed_result: dict[str, str | None] | list[FailedKey] | None = None

    def reasons(self) -> dict[str, str]:
        """Return ``failed_result`` as a map from key to reason, whatever its form."""
        if isinstance(self.failed_result, list):
            return {
                entry.process_query_key or entry.key or "": entry.code or entry.reason or entry.message or ""
                for entry in self.failed_result
            }
        return {key: reason or "" for key, reason in (self.failed_result or {}).items()}


class RecallGroupMessages(Endpoint[RecallResult], kw_only=True, frozen=True):
    """Request to recall up to 20 robot messages of one group. No recall window is documented."""

    http: ClassVar = Http(
        "/v1.0/robot/groupMessages/recall",
        "enterprise-chatbot-withdraws-internal-group-messages",
        idempotency=Idempotency.RECALL,
    )
    result: ClassVar = RecallResult

    open_conversation_id: Text
    robot_code: Text
    process_query_keys: Keys


class RecallOtoMessages(Endpoint[RecallResult], kw_only=True, frozen=True):
    """Request to recall up to 20 one-on-one messages within 24 hours."""

    http: ClassVar = Http(
        "/v1.0/robot/otoMessages/batchRecall", "batch-message-recall-chat", idempotency=Idempotency.RECALL
    )
    result: ClassVar = RecallResult

    robot_code: Text
    process_query_keys: Keys


class RecallPrivateChatMessages(Endpoint[RecallResult], kw_only=True, frozen=True):
    """Request to recall up to 20 robot messages of a private chat. No recall window is documented."""

    http: ClassVar = Http(
        "/v1.0/robot/privateChatMessages/batchRecall",
        "batch-withdrawal-of-single-chat-robot-messages-in-person-to-person-conversations",
        idempotency=Idempotency.RECALL,
    )
    result: ClassVar = RecallResult

    open_conversation_id: Text
    robot_code: Text
    process_query_keys: Keys


class MessageReadList(Answer, kw_only=True, frozen=True):
    """Status of a group or private-chat message, with one page of readers.

    :param send_status: ``SUCCESS``, ``RECALLED`` or ``PROCESSING``; other values may appear.
    :param next_token: Cursor of the next page; send it unchanged.
    """

    send_status: str | None = None
    read_user_ids: list[str] | None = None
    has_more: bool | None = None
    next_token: str | None = None


class QueryGroupMessage(Endpoint[MessageReadList], kw_only=True, frozen=True):
    """Request for a group message's status and a page of readers.

    DingTalk documents conversation and robot as optional, but has error codes for both missing. So give both.
    """

    http: ClassVar = Http("/v1.0/robot/groupMessages/query", "chatbot-queries-the-read-status-of-a-message")
    result: ClassVar = MessageReadList

    process_query_key: Text
    open_conversation_id: Text | None = None
    robot_code: Text | None = None
    max_results: PageSize | None = None
    next_token: str | None = None


class QueryPrivateChatMessage(Endpoint[MessageReadList], kw_only=True, frozen=True):
    """Request for a private-chat message's status and a page of readers."""

    http: ClassVar = Http(
        "/v1.0/robot/privateChatMessages/query",
        "query-the-read-list-of-robot-messages-in-person-to-person-conversations",
    )
    result: ClassVar = MessageReadList

    process_query_key: Text
    open_conversation_id: Text | None = None
    robot_code: Text | None = None
    max_results: PageSize | None = None
    next_token: str | None = None


class OtoReader(Struct, kw_only=True, frozen=True, rename="camel"):
    """Receiver of a one-on-one message. ``read_status`` is ``READ`` or ``UNREAD``, without a time."""

    user_id: str
    read_status: str
    name: str | None = None


class OtoStatus(Answer, kw_only=True, frozen=True):
    """Status of a one-on-one message and of each receiver. Never paged."""

    send_status: str | None = None
    message_read_info_list: list[OtoReader] | None = None


class QueryOtoMessage(Endpoint[OtoStatus], kw_only=True, frozen=True):
    """Request for a one-on-one message's status and readers, within 24 hours."""

    http: ClassVar = Http(
        "/v1.0/robot/oToMessages/readStatus", "chatbot-batch-query-the-read-status-of-messages", method="GET"
    )
    result: ClassVar = OtoStatus

    robot_code: Text
    process_query_key: Text


class SendResult(Answer, kw_only=True, frozen=True):
    """Answer to a send, with the message key."""

    process_query_key: Text


class SendGroupMessage(Endpoint[SendResult], kw_only=True, frozen=True):
    """Request to send a message to an internal group. ``msg_param`` is JSON in a string."""

    http: ClassVar = Http(
        "/v1.0/robot/groupMessages/send", "the-robot-sends-a-group-message", idempotency=Idempotency.SEND
    )
    result: ClassVar = SendResult

    msg_key: Text
    msg_param: Text
    open_conversation_id: Text
    robot_code: Text
    cool_app_code: Text | None = None


class SendPrivateChatMessage(Endpoint[SendResult], kw_only=True, frozen=True):
    """Request to send to a private chat. The robot's cool app must be installed there."""

    http: ClassVar = Http(
        "/v1.0/robot/privateChatMessages/send",
        "the-robot-sends-ordinary-messages-in-a-person-to-person-conversation",
        idempotency=Idempotency.SEND,
    )
    result: ClassVar = SendResult

    msg_key: Text
    msg_param: Text
    open_conversation_id: Text
    robot_code: Text
    cool_app_code: Text


class OtoSendResult(SendResult, kw_only=True, frozen=True):
    """Answer to a one-on-one send: message key and omitted receivers.

    ``filtered_staff_id_list`` is in DingTalk's SDK only; no page documents it.
    """

    invalid_staff_id_list: list[str] | None = None
    flow_controlled_staff_id_list: list[str] | None = None
    filtered_staff_id_list: list[str] | None = None


class SendOtoMessages(Endpoint[OtoSendResult], kw_only=True, frozen=True):
    """Request to send one-on-one messages to up to 20 people."""

    http: ClassVar = Http(
        "/v1.0/robot/oToMessages/batchSend",
        "chatbots-send-one-on-one-chat-messages-in-batches",
        idempotency=Idempotency.SEND,
    )
    result: ClassVar = OtoSendResult

    robot_code: Text
    user_ids: Annotated[list[Text], Meta(min_length=1, max_length=MAX_USERS_PER_OTO_SEND)]
    msg_key: Text
    msg_param: Text
