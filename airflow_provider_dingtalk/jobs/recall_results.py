"""Results for messages from DingTalk's answers to a recall, as pure functions.

DingTalk does not document a second recall of a message, ``notRevoke.all.messages`` is a failure with a partial
effect, and a broken connection gives no answer. So a message can be in doubt after an answer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from airflow_provider_dingtalk import exceptions
from airflow_provider_dingtalk.client.error_codes import Retry, Scope, is_known, rule_for
from airflow_provider_dingtalk.exceptions import DingTalkError, ResponseError
from airflow_provider_dingtalk.messages.reason import Reason


class KeyState(StrEnum):
    """State of a message in a recall."""

    PENDING = "pending"
    """Message for which no recall was sent yet."""
    IN_DOUBT = "intent"
    """Message whose recall is in flight, or whose answer is not known here."""
    RECALLED = "recalled"
    FAILED = "failed"
    EXPIRED = "expired"


class KeyResult(Struct, frozen=True, gc=False):
    """Result of one answer for one message.

    :param final: True (default) if recalling it again, unchanged, is pointless.
    """

    state: KeyState
    reason: Reason | None = None
    final: bool = True


AGAIN = "Run the recall again."
RECALLED = KeyResult(KeyState.RECALLED)
NOT_ATTEMPTED = Reason(
    "not_attempted", "The recall stopped before this message's turn; nothing was sent for it.", AGAIN
)
NOT_REPORTED = Reason("not_reported", "DingTalk's answer names this message in neither list.", AGAIN)
CONTRADICTION = Reason("contradiction", "DingTalk's answer names this message as recalled and as failed.", AGAIN)
TOO_OLD = KeyResult(
    KeyState.EXPIRED,
    Reason(
        "robot.processQueryKey.expired",
        "Sent more than 24 hours ago by its own receipt; DingTalk was not asked.",
        rule_for("robot.processQueryKey.expired").next_step,
    ),
)
#: Codes of the old host that concern one work notification (unknown, too old, recalled already) as likely as the
#: agent of all of them.
AGENT_OR_TASK = frozenset({"400002", "40035"})
#: Codes of a missing permission that DingTalk's pages list with those of one robot and conversation.
ABOUT_ROBOT = frozenset({"auth.error", "unauthorized"})


def in_doubt(reason: Reason) -> KeyResult:
    """Return the result of a message in doubt."""
    return KeyResult(KeyState.IN_DOUBT, reason, final=False)


def of_lists(keys: Sequence[str], recalled: Collection[str], reasons: Mapping[str, str]) -> dict[str, KeyResult]:
    """Return the result of a successful answer for each requested message, and for no other.

    :param recalled: Keys that the answer names as recalled.
    :param reasons: Reasons by key that it names as failed.
    """
    return {key: _of_lists(key in recalled, reasons.get(key)) for key in keys}


def _of_lists(recalled: bool, failure: str | None) -> KeyResult:
    if recalled:
        return RECALLED if failure is None else in_doubt(CONTRADICTION)
    return in_doubt(NOT_REPORTED) if failure is None else of_reason(failure)


def of_reason(text: str) -> KeyResult:
    """Return the result for a reason in ``failedResult``.

    DingTalk has no list of reasons, so an unknown one leaves the message in doubt.
    """
    rule = rule_for(text)
    code = "".join(char for char in text if char.isprintable())[:80] or "no_reason"
    reason = Reason(code, f"DingTalk: {code}.", rule.next_step)
    if issubclass(rule.error, exceptions.RecallExpiredError):
        return KeyResult(KeyState.EXPIRED, reason)
    if is_known(text) and rule.retry is Retry.NEVER:
        return KeyResult(KeyState.FAILED, reason)
    return in_doubt(reason)


def of_error(error: DingTalkError) -> KeyResult:
    """Return the result of a failed call for each of its messages."""
    reason = Reason.of(error)
    if isinstance(error, exceptions.RecallExpiredError):
        return KeyResult(KeyState.EXPIRED, reason)
    return in_doubt(reason) if leaves_doubt(error) else KeyResult(KeyState.FAILED, reason, final=error.permanent)


def of_status(send_status: str | None, reason: Reason) -> KeyResult:
    """Return the result for the status of a message in doubt."""
    if send_status == "RECALLED":
        return RECALLED
    if send_status in ("SUCCESS", "PROCESSING"):
        return KeyResult(KeyState.FAILED, reason, final=False)
    return in_doubt(reason)


def leaves_doubt(error: DingTalkError) -> bool:
    """Return True if a failed call may have had an effect."""
    return isinstance(error, exceptions.OutcomeUnknownError | exceptions.ServerError | exceptions.PartialRecallError)


def is_about_one_key(error: DingTalkError) -> bool:
    """Return True if single messages, or their number, caused a refusal."""
    about_key = isinstance(error, ResponseError) and rule_for(error.code).scope is not Scope.CALL
    return is_over_limit(error) or (about_key and not isinstance(error, exceptions.PartialRecallError))


def may_concern_all(error: DingTalkError) -> bool:
    """Return True if a refusal may concern one message or its sender.

    The codes of ``AGENT_OR_TASK`` are excluded. DingTalk refuses a work notification with them if an earlier try
    recalled it. A few of those in a row must not leave the others in the chats.
    """
    return isinstance(error, ResponseError) and rule_for(error.code).scope is Scope.KEY_OR_CALL


def is_over_limit(error: DingTalkError) -> bool:
    """Return True if a call was refused for too many messages."""
    return error.code == "invalidParameter.processQueryKeys.overMax"


def stops_everything(error: DingTalkError) -> bool:
    """Return True if no call of this app can succeed now."""
    return isinstance(error, exceptions.AuthenticationError | exceptions.QuotaExhaustedError) or pause_of(error) > 0


def stops_sender(error: DingTalkError) -> bool:
    """Return True if the sender's other messages in the conversation would fail."""
    if isinstance(error, exceptions.InvalidInputError) or error.code in AGENT_OR_TASK:
        return False
    return isinstance(error, ResponseError) and error.permanent and not is_about_one_key(error)


def pause_of(error: DingTalkError) -> float:
    """Return the seconds during which no call of this app can succeed; 0 if the error requires no pause."""
    return error.retry_after if isinstance(error, exceptions.ThrottlingError | exceptions.UnexpectedHtmlError) else 0.0


def is_about_the_app(error: DingTalkError) -> bool:
    """Return True if an error concerns all messages of a connection.

    That holds for a refused app, a connection that cannot work, and an exhausted quota. Any other error concerns
    one message, or its kind (see :func:`is_about_the_kind`).
    """
    refused_app = exceptions.AuthenticationError | exceptions.QuotaExhaustedError
    return isinstance(error, refused_app | exceptions.ConfigurationError)


def is_about_the_kind(error: DingTalkError) -> bool:
    """Return True if the app lacks a permission for all messages of a connection and kind."""
    return isinstance(error, exceptions.PermissionDeniedError) and error.code not in ABOUT_ROBOT


def is_outage(error: DingTalkError) -> bool:
    """Return True if DingTalk could not be reached."""
    return isinstance(error, exceptions.ConnectionFailedError)
