"""DingTalk's calls: one struct per API, in DingTalk's own words.

An endpoint is the request itself: its fields are the parameters, ``http`` says where they go, ``result``
is the shape of a good answer, and ``http.doc`` is DingTalk's page about it. The sandbox validates against
the same structs; ``tests/samples`` and the official SDK are the witnesses that keep them honest.

Paths are spelt as DingTalk spells them, mind the case: one sends to ``oToMessages`` and recalls from
``otoMessages``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import msgspec
from msgspec import Meta, Struct

#: DingTalk-imposed limit on message keys in one recall call.
MAX_KEYS_PER_RECALL = 20
#: DingTalk-imposed limit on receivers in one robot-to-person send. The error text of the same page still says 100.
MAX_USERS_PER_OTO_SEND = 20
#: DingTalk-imposed limit on readers in one page of a status query.
MAX_RESULTS_PER_PAGE = 200
#: DingTalk-imposed limit on ``userid_list`` in one work notification.
MAX_USERS_PER_WORK_NOTIFICATION = 100
#: DingTalk-imposed limit on ``dept_id_list`` in one work notification.
MAX_DEPTS_PER_WORK_NOTIFICATION = 20
#: DingTalk-imposed limit on ``msg`` of a work notification, in bytes of JSON.
MAX_WORK_NOTIFICATION_BYTES = 2048
#: DingTalk-imposed limit on ``msgParam``, in bytes. Stated on the page of the group send only.
MAX_MSG_PARAM_BYTES = 15_000
#: DingTalk-imposed limits on receivers of one DING: in the app, and by SMS or telephone.
MAX_USERS_PER_APP_DING = 200
MAX_USERS_PER_PHONE_DING = 20
#: Hours in which DingTalk lets robot one-on-one messages and work notifications be recalled.
RECALL_WINDOW_HOURS = 24

_DOCS = "https://open.dingtalk.com/document/development/"

Result_co = TypeVar("Result_co", covariant=True)


class Host(StrEnum):
    """DingTalk's two hosts. Which names they have depends on the region."""

    API = "api"
    """``api.dingtalk.…``: JSON, token in a header, errors by status and ``code``."""
    OAPI = "oapi"
    """``oapi.dingtalk.…``: the old host. Forms, token in the query, errors by ``errcode`` under HTTP 200."""


class Auth(StrEnum):
    """Where the access token of a call goes."""

    HEADER = "header"
    QUERY = "query"
    NONE = "none"


class Effect(StrEnum):
    """What happens when a call that may or may not have been carried out is sent once more."""

    READ = "read"
    """Nothing: ask as often as need be."""
    RECALL = "recall"
    """The end state is the same, but what DingTalk answers the second time is undocumented."""
    SEND = "send"
    """A second message: DingTalk has no idempotency key. Never repeated blindly."""


class Http(Struct, frozen=True, kw_only=True):
    """Where a call goes and what DingTalk's page about it is.

    :param path: Path under the host, in DingTalk's spelling.
    :param doc: URL of DingTalk's own page.
    """

    path: str
    doc: str
    method: str = "POST"
    host: Host = Host.API
    auth: Auth = Auth.HEADER
    effect: Effect = Effect.READ


Text = Annotated[str, Meta(min_length=1)]
Keys = Annotated[list[Text], Meta(min_length=1, max_length=MAX_KEYS_PER_RECALL)]


class Endpoint(
    Struct,
    Generic[Result_co],
    kw_only=True,
    frozen=True,
    rename="camel",
    omit_defaults=True,
    forbid_unknown_fields=True,
):
    """A call to DingTalk, ready to be sent. Fields left at ``None`` do not go over the wire."""

    http: ClassVar[Http]
    result: ClassVar[Any]

    @property
    def name(self) -> str:
        """The path without version: what logs, limits and reports call this API."""
        return name_of(type(self))

    def secrets(self) -> tuple[str, ...]:
        """Fields that must never be shown."""
        return ()


class OldEndpoint(Endpoint[Result_co], kw_only=True, frozen=True, rename=None):
    """A call to the old host, which spells its fields in snake_case."""


def name_of(endpoint: type[Endpoint[Any]]) -> str:
    """The path of an endpoint without its version, e.g. ``robot/groupMessages/recall``."""
    return endpoint.http.path.removeprefix("/v1.0/").removeprefix("/")


# ── Answers ──────────────────────────────────────────────────────────────────────────────────────────
# Unknown fields in answers are let through: DingTalk adds some without telling.


class Answer(Struct, kw_only=True, frozen=True, rename="camel"):
    """A good answer of the new host."""


class OldAnswer(Struct, kw_only=True, frozen=True):
    """A good answer of the old host: ``errcode`` was 0, or the client would have raised."""

    errcode: int
    errmsg: str | None = None


class FailedKey(Struct, kw_only=True, frozen=True, rename="camel"):
    """One entry of ``failedResult`` in its list form: claimed by users in the field, documented nowhere."""

    process_query_key: str | None = None
    key: str | None = None
    code: str | None = None
    message: str | None = None
    reason: str | None = None


class RecallResult(Answer, kw_only=True, frozen=True):
    """Which messages are recalled, and which are not and why.

    :param success_result: Keys of the recalled messages.
    :param failed_result: Reason by key. DingTalk documents a map; a list is taken too.
    """

    success_result: list[str] | None = None
    failed_result: dict[str, str | None] | list[FailedKey] | None = None

    def reasons(self) -> dict[str, str]:
        """``failed_result`` as one map of key to reason, whatever form it came in."""
        if isinstance(self.failed_result, list):
            return {
                entry.process_query_key or entry.key or "": entry.code or entry.reason or entry.message or ""
                for entry in self.failed_result
            }
        return {key: reason or "" for key, reason in (self.failed_result or {}).items()}


class SendResult(Answer, kw_only=True, frozen=True):
    """The key of the message that was sent."""

    process_query_key: Text


class OtoSendResult(SendResult, kw_only=True, frozen=True):
    """One key for all receivers of the call, and those who got nothing.

    ``filtered_staff_id_list`` is in DingTalk's SDK only, on no page.
    """

    invalid_staff_id_list: list[str] | None = None
    flow_controlled_staff_id_list: list[str] | None = None
    filtered_staff_id_list: list[str] | None = None


class MessageStatus(Answer, kw_only=True, frozen=True):
    """A page of the readers of a group or private-chat message.

    :param send_status: ``SUCCESS``, ``RECALLED`` or ``PROCESSING``; other values may appear.
    :param next_token: Cursor of the next page: hand it back as it is.
    """

    send_status: str | None = None
    read_user_ids: list[str] | None = None
    has_more: bool | None = None
    next_token: str | None = None


class OtoReader(Struct, kw_only=True, frozen=True, rename="camel"):
    """A receiver of a one-on-one message. ``read_status`` is ``READ`` or ``UNREAD``; when is not told."""

    user_id: str
    read_status: str
    name: str | None = None


class OtoStatus(Answer, kw_only=True, frozen=True):
    """The state of a one-on-one message and of each receiver. Never paged."""

    send_status: str | None = None
    message_read_info_list: list[OtoReader] | None = None


class DingResult(Answer, kw_only=True, frozen=True):
    """The DING that was sent or recalled. ``failed_list`` (send only): receivers by reason."""

    open_ding_id: Text
    failed_list: dict[str, list[str]] | None = None


class AccessToken(Answer, kw_only=True, frozen=True):
    """An access token and the seconds it lives."""

    # Printable ASCII: anything else fits into no header, and the error about it would show the token.
    access_token: Annotated[str, Meta(pattern=r"\A[!-~]+\Z")]
    expire_in: Annotated[int, Meta(gt=0)]

    def __repr__(self) -> str:
        return f"AccessToken(access_token='***', expire_in={self.expire_in})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # msgspec gives rich, and so Airflow's tracebacks, all fields.
        return [("expire_in", self.expire_in)]


class WorkNotificationSent(OldAnswer, kw_only=True, frozen=True):
    """The task that sends a work notification in the background."""

    task_id: int


class WorkNotificationRecalled(OldAnswer, kw_only=True, frozen=True):
    """The whole task was recalled. There is no result by person."""


class SendProgress(Struct, kw_only=True, frozen=True):
    """How far a work notification is. ``status``: 0 not begun, 1 under way, 2 done."""

    progress_in_percent: int
    status: int


class WorkNotificationProgress(OldAnswer, kw_only=True, frozen=True):
    """How far a work notification is."""

    progress: SendProgress


class WorkNotificationReaders(Struct, kw_only=True, frozen=True):
    """Who got a work notification, who read it, who did not get it."""

    read_user_id_list: list[str] | None = None
    unread_user_id_list: list[str] | None = None
    failed_user_id_list: list[str] | None = None
    invalid_user_id_list: list[str] | None = None
    forbidden_user_id_list: list[str] | None = None


class WorkNotificationOutcome(OldAnswer, kw_only=True, frozen=True):
    """Who got a work notification, who read it, who did not get it."""

    send_result: WorkNotificationReaders


# ── Recall ───────────────────────────────────────────────────────────────────────────────────────────


class RecallGroupMessages(Endpoint[RecallResult], kw_only=True, frozen=True):
    """Take back up to 20 messages that a robot sent to one group. No time limit is documented."""

    http: ClassVar = Http(
        path="/v1.0/robot/groupMessages/recall",
        doc=_DOCS + "enterprise-chatbot-withdraws-internal-group-messages",
        effect=Effect.RECALL,
    )
    result: ClassVar = RecallResult

    open_conversation_id: Text
    robot_code: Text
    process_query_keys: Keys


class RecallOtoMessages(Endpoint[RecallResult], kw_only=True, frozen=True):
    """Take back up to 20 messages that a robot sent to people, within 24 hours."""

    http: ClassVar = Http(
        path="/v1.0/robot/otoMessages/batchRecall",
        doc=_DOCS + "batch-message-recall-chat",
        effect=Effect.RECALL,
    )
    result: ClassVar = RecallResult

    robot_code: Text
    process_query_keys: Keys


class RecallPrivateChatMessages(Endpoint[RecallResult], kw_only=True, frozen=True):
    """Take back up to 20 robot messages in a chat of two people. No time limit is documented."""

    http: ClassVar = Http(
        path="/v1.0/robot/privateChatMessages/batchRecall",
        doc=_DOCS + "batch-withdrawal-of-single-chat-robot-messages-in-person-to-person-conversations",
        effect=Effect.RECALL,
    )
    result: ClassVar = RecallResult

    open_conversation_id: Text
    robot_code: Text
    process_query_keys: Keys


class RecallWorkNotification(OldEndpoint[WorkNotificationRecalled], kw_only=True, frozen=True):
    """Take back a work notification from all its receivers, within 24 hours."""

    http: ClassVar = Http(
        path="/topapi/message/corpconversation/recall",
        doc=_DOCS + "notification-of-work-withdrawal",
        host=Host.OAPI,
        auth=Auth.QUERY,
        effect=Effect.RECALL,
    )
    result: ClassVar = WorkNotificationRecalled

    agent_id: int
    msg_task_id: int


class RecallDing(Endpoint[DingResult], kw_only=True, frozen=True):
    """Take back a DING, with the robot that sent it. No time limit is documented."""

    http: ClassVar = Http(
        path="/v1.0/robot/ding/recall",
        doc=_DOCS + "robot-withdraws-pin-message",
        effect=Effect.RECALL,
    )
    result: ClassVar = DingResult

    robot_code: Text
    open_ding_id: Text


# ── Status and readers ───────────────────────────────────────────────────────────────────────────────

PageSize = Annotated[int, Meta(ge=1, le=MAX_RESULTS_PER_PAGE)]


class QueryGroupMessage(Endpoint[MessageStatus], kw_only=True, frozen=True):
    """The state of a group message and a page of its readers.

    DingTalk calls conversation and robot optional, and has error codes for both missing: always give them.
    """

    http: ClassVar = Http(
        path="/v1.0/robot/groupMessages/query",
        doc=_DOCS + "chatbot-queries-the-read-status-of-a-message",
    )
    result: ClassVar = MessageStatus

    process_query_key: Text
    open_conversation_id: Text | None = None
    robot_code: Text | None = None
    max_results: PageSize | None = None
    next_token: str | None = None


class QueryPrivateChatMessage(Endpoint[MessageStatus], kw_only=True, frozen=True):
    """The state of a robot message in a chat of two people and a page of its readers."""

    http: ClassVar = Http(
        path="/v1.0/robot/privateChatMessages/query",
        doc=_DOCS + "query-the-read-list-of-robot-messages-in-person-to-person-conversations",
    )
    result: ClassVar = MessageStatus

    process_query_key: Text
    open_conversation_id: Text | None = None
    robot_code: Text | None = None
    max_results: PageSize | None = None
    next_token: str | None = None


class QueryOtoMessage(Endpoint[OtoStatus], kw_only=True, frozen=True):
    """The state of a one-on-one message and who read it, for 24 hours after the send."""

    http: ClassVar = Http(
        path="/v1.0/robot/oToMessages/readStatus",
        doc=_DOCS + "chatbot-batch-query-the-read-status-of-messages",
        method="GET",
    )
    result: ClassVar = OtoStatus

    robot_code: Text
    process_query_key: Text


class GetWorkNotificationProgress(OldEndpoint[WorkNotificationProgress], kw_only=True, frozen=True):
    """How far a work notification is."""

    http: ClassVar = Http(
        path="/topapi/message/corpconversation/getsendprogress",
        doc=_DOCS + "obtain-the-sending-progress-of-asynchronous-sending-of-enterprise-session",
        host=Host.OAPI,
        auth=Auth.QUERY,
    )
    result: ClassVar = WorkNotificationProgress

    agent_id: int
    task_id: int


class GetWorkNotificationResult(OldEndpoint[WorkNotificationOutcome], kw_only=True, frozen=True):
    """Who read a work notification, for 24 hours and up to 100 receivers."""

    http: ClassVar = Http(
        path="/topapi/message/corpconversation/getsendresult",
        doc=_DOCS + "gets-the-result-of-sending-messages-asynchronously-to-the-enterprise",
        host=Host.OAPI,
        auth=Auth.QUERY,
    )
    result: ClassVar = WorkNotificationOutcome

    agent_id: int
    task_id: int


# ── Send ─────────────────────────────────────────────────────────────────────────────────────────────


class SendGroupMessage(Endpoint[SendResult], kw_only=True, frozen=True):
    """Send a message to an internal group. ``msg_param`` is JSON in a string."""

    http: ClassVar = Http(
        path="/v1.0/robot/groupMessages/send",
        doc=_DOCS + "the-robot-sends-a-group-message",
        effect=Effect.SEND,
    )
    result: ClassVar = SendResult

    msg_key: Text
    msg_param: Text
    open_conversation_id: Text
    robot_code: Text
    cool_app_code: Text | None = None


class SendOtoMessages(Endpoint[OtoSendResult], kw_only=True, frozen=True):
    """Send one message to up to 20 people, each in their chat with the robot."""

    http: ClassVar = Http(
        path="/v1.0/robot/oToMessages/batchSend",
        doc=_DOCS + "chatbots-send-one-on-one-chat-messages-in-batches",
        effect=Effect.SEND,
    )
    result: ClassVar = OtoSendResult

    robot_code: Text
    user_ids: Annotated[list[Text], Meta(min_length=1, max_length=MAX_USERS_PER_OTO_SEND)]
    msg_key: Text
    msg_param: Text


class SendPrivateChatMessage(Endpoint[SendResult], kw_only=True, frozen=True):
    """Send a message into a chat of two people, where the robot's cool app is installed."""

    http: ClassVar = Http(
        path="/v1.0/robot/privateChatMessages/send",
        doc=_DOCS + "the-robot-sends-ordinary-messages-in-a-person-to-person-conversation",
        effect=Effect.SEND,
    )
    result: ClassVar = SendResult

    msg_key: Text
    msg_param: Text
    open_conversation_id: Text
    robot_code: Text
    cool_app_code: Text


class SendWorkNotification(OldEndpoint[WorkNotificationSent], kw_only=True, frozen=True):
    """Send a work notification in the background. ``userid_list`` and ``dept_id_list`` are comma-separated."""

    http: ClassVar = Http(
        path="/topapi/message/corpconversation/asyncsend_v2",
        doc=_DOCS + "asynchronous-sending-of-enterprise-session-messages",
        host=Host.OAPI,
        auth=Auth.QUERY,
        effect=Effect.SEND,
    )
    result: ClassVar = WorkNotificationSent

    agent_id: int
    msg: dict[str, Any]
    userid_list: Text | None = None
    dept_id_list: Text | None = None
    to_all_user: bool | None = None


class SendDing(Endpoint[DingResult], kw_only=True, frozen=True):
    """Send a DING. ``remind_type``: 1 in the app, 2 by SMS, 3 by telephone."""

    http: ClassVar = Http(
        path="/v1.0/robot/ding/send",
        doc=_DOCS + "robot-sends-nail-message",
        effect=Effect.SEND,
    )
    result: ClassVar = DingResult

    robot_code: Text
    remind_type: Annotated[int, Meta(ge=1, le=3)]
    receiver_user_id_list: Annotated[list[Text], Meta(min_length=1, max_length=MAX_USERS_PER_APP_DING)]
    content: Text
    call_voice: Text | None = None


# ── Tokens ───────────────────────────────────────────────────────────────────────────────────────────


class GetAccessToken(Endpoint[AccessToken], kw_only=True, frozen=True):
    """The token of an internal app. Asked again while it lives, DingTalk gives the same and prolongs it."""

    http: ClassVar = Http(
        path="/v1.0/oauth2/accessToken",
        doc=_DOCS + "obtain-the-access-token-of-an-internal-app",
        auth=Auth.NONE,
    )
    result: ClassVar = AccessToken

    app_key: Text
    app_secret: Text

    def __repr__(self) -> str:
        return f"GetAccessToken(app_key={self.app_key!r}, app_secret='***')"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("app_key", self.app_key)]

    def secrets(self) -> tuple[str, ...]:
        """Fields that must never be shown."""
        return (self.app_secret,)


class GetCorpAccessToken(Endpoint[AccessToken], kw_only=True, frozen=True):
    """The token of a third-party app for one organisation. Asked again, DingTalk gives a new one."""

    http: ClassVar = Http(
        path="/v1.0/oauth2/corpAccessToken",
        doc=_DOCS + "obtain-the-access-token-of-the-third-party-application-authorization-enterprise",
        auth=Auth.NONE,
    )
    result: ClassVar = AccessToken

    suite_key: Text
    suite_secret: Text
    auth_corp_id: Text
    suite_ticket: Text

    def __repr__(self) -> str:
        return f"GetCorpAccessToken(suite_key={self.suite_key!r}, suite_secret='***', suite_ticket='***')"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("suite_key", self.suite_key)]

    def secrets(self) -> tuple[str, ...]:
        """Fields that must never be shown."""
        return (self.suite_secret, self.suite_ticket)


#: Every call this package makes; the sandbox serves exactly these.
ENDPOINTS: tuple[type[Endpoint[Any]], ...] = (
    RecallGroupMessages,
    RecallOtoMessages,
    RecallPrivateChatMessages,
    RecallWorkNotification,
    RecallDing,
    QueryGroupMessage,
    QueryPrivateChatMessage,
    QueryOtoMessage,
    GetWorkNotificationProgress,
    GetWorkNotificationResult,
    SendGroupMessage,
    SendOtoMessages,
    SendPrivateChatMessage,
    SendWorkNotification,
    SendDing,
    GetAccessToken,
    GetCorpAccessToken,
)


def fields_of(endpoint: Endpoint[Any]) -> dict[str, Any]:
    """The fields that go over the wire, by their names there.

    :raises msgspec.ValidationError: A field is missing, of a wrong type, or over DingTalk's limit.
    """
    fields: dict[str, Any] = msgspec.to_builtins(endpoint)
    msgspec.convert(fields, type(endpoint))
    return fields
