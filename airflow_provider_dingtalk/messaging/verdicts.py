"""What DingTalk's answer to a recall says of each message. Plain functions over values.

Recalling twice is documented nowhere, ``notRevoke.all.messages`` is a failure with a partial effect, and a
broken connection says nothing at all. So an answer can leave a message in doubt; doubts are settled by
recalling again and then by asking for the status (:mod:`~airflow_provider_dingtalk.messaging.recall`).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from airflow_provider_dingtalk.api.endpoints import DingResult, RecallResult
from airflow_provider_dingtalk.api.error_codes import Retry, Scope, is_known, rule_for
from airflow_provider_dingtalk.api.errors import (
    AmbiguousError,
    AuthenticationError,
    ConfigurationError,
    DingTalkError,
    ForeignPageError,
    InvalidInputError,
    NotSentError,
    PartialRecallError,
    PermissionDeniedError,
    QuotaExhaustedError,
    RecallExpiredError,
    ResponseError,
    ServerError,
    ThrottlingError,
)
from airflow_provider_dingtalk.messaging.report import Reason


class State(StrEnum):
    """How far a message is."""

    PENDING = "pending"
    """Nothing was sent for it yet."""
    INTENT = "intent"
    """A recall is going out, or went out and its answer is not known here."""
    RECALLED = "recalled"
    FAILED = "failed"
    EXPIRED = "expired"


class Verdict(Struct, frozen=True, gc=False):
    """What one answer says of one message.

    :param state: ``INTENT`` says that it is in doubt.
    :param final: Whether recalling it again, unchanged, is pointless.
    """

    state: State
    reason: Reason | None = None
    final: bool = True


RECALLED = Verdict(State.RECALLED)
NOT_ATTEMPTED = Reason(
    "not_attempted",
    "The recall stopped before this message's turn; nothing was sent for it.",
    "Run the recall again.",
)
NOT_REPORTED = Reason(
    "not_reported", "DingTalk's answer names this message in neither list.", "Run the recall again."
)
CONTRADICTION = Reason(
    "contradiction", "DingTalk's answer names this message as recalled and as failed.", "Run the recall again."
)
#: Codes of the old host that are as likely about one work notification (unknown, too old, recalled already) as
#: about the agent of them all.
AGENT_OR_TASK = frozenset({"400002", "40035"})
#: Codes of a missing right that pages list beside those of one robot and conversation.
ABOUT_ROBOT = frozenset({"auth.error", "unauthorized"})
TOO_OLD = Reason(
    "robot.processQueryKey.expired",
    "Sent more than 24 hours ago by its own receipt; DingTalk was not asked.",
    rule_for("robot.processQueryKey.expired").next_step,
)


def of_result(keys: Sequence[str], result: object) -> dict[str, Verdict]:
    """What a good answer says of each message that was asked for. Others that it names are nobody's business."""
    if isinstance(result, RecallResult):
        recalled, reasons = set(result.success_result or ()), result.reasons()
        return {key: _of_lists(key in recalled, reasons.get(key)) for key in keys}
    if isinstance(result, DingResult) and result.open_ding_id not in keys:
        return dict.fromkeys(keys, in_doubt(NOT_REPORTED))
    return dict.fromkeys(keys, RECALLED)


def _of_lists(recalled: bool, why_not: str | None) -> Verdict:
    if recalled and why_not is None:
        return RECALLED
    if recalled:
        return in_doubt(CONTRADICTION)
    return in_doubt(NOT_REPORTED) if why_not is None else of_reason(why_not)


def of_reason(text: str) -> Verdict:
    """What a reason in ``failedResult`` says. DingTalk has no list of them: an unknown one leaves doubt."""
    rule = rule_for(text)
    code = "".join(char for char in text if char.isprintable())[:80] or "no_reason"
    reason = Reason(code, f"DingTalk: {code}.", rule.next_step)
    if issubclass(rule.error, RecallExpiredError):
        return Verdict(State.EXPIRED, reason)
    if is_known(text) and rule.retry is Retry.NEVER:
        return Verdict(State.FAILED, reason)
    return in_doubt(reason)


def of_error(error: DingTalkError) -> Verdict:
    """What a failed call says of every message in it."""
    reason = Reason.of(error)
    if isinstance(error, RecallExpiredError):
        return Verdict(State.EXPIRED, reason)
    if leaves_doubt(error):
        return in_doubt(reason)
    return Verdict(State.FAILED, reason, final=error.permanent)


def leaves_doubt(error: DingTalkError) -> bool:
    """Whether a call that failed with this error may have been carried out, at least in part."""
    return isinstance(error, AmbiguousError | ServerError | PartialRecallError)


def in_doubt(reason: Reason) -> Verdict:
    """The message may or may not be recalled."""
    return Verdict(State.INTENT, reason, final=False)


def is_about_one_key(error: DingTalkError) -> bool:
    """Whether a whole call was refused for one of its messages, or for too many of them."""
    if is_over_limit(error):
        return True
    about_key = isinstance(error, ResponseError) and rule_for(error.code).scope is not Scope.CALL
    return about_key and not isinstance(error, PartialRecallError)


def may_concern_all(error: DingTalkError) -> bool:
    """Tell whether a refusal may be about one message, and as well about the sender of them all.

    The codes of ``AGENT_OR_TASK`` are not among them: a work notification that an earlier try recalled is refused
    so, and a few of those in a row must not leave the others in the chats.
    """
    return isinstance(error, ResponseError) and rule_for(error.code).scope is Scope.KEY_OR_CALL


def is_over_limit(error: DingTalkError) -> bool:
    """Whether a call was refused for having too many messages."""
    return error.code == "invalidParameter.processQueryKeys.overMax"


def stops_everything(error: DingTalkError) -> bool:
    """Whether no call of this app has a chance now."""
    return isinstance(error, AuthenticationError | QuotaExhaustedError) or asks_to_wait(error) > 0


def asks_to_wait(error: DingTalkError) -> float:
    """Seconds in which no call of this app has a chance; 0 if the error says nothing of the kind."""
    return error.retry_after if isinstance(error, ThrottlingError | ForeignPageError) else 0.0


def is_about_the_app(error: DingTalkError) -> bool:
    """Tell whether an error concerns all messages of a connection, not only the one that it came for.

    An app that is refused, a connection that cannot work, and a quota that is used up are of that kind. All else
    is one message's outcome, or that of its kind (see :func:`is_about_the_kind`).
    """
    return isinstance(error, AuthenticationError | ConfigurationError | QuotaExhaustedError)


def is_about_the_kind(error: DingTalkError) -> bool:
    """Tell whether an error concerns all messages of a connection and kind: the app lacks a permission."""
    return isinstance(error, PermissionDeniedError) and error.code not in ABOUT_ROBOT


def stops_the_group(error: DingTalkError) -> bool:
    """Whether the other messages of the same sender and conversation would be refused too."""
    if isinstance(error, InvalidInputError) or error.code in AGENT_OR_TASK:
        return False
    return isinstance(error, ResponseError) and error.permanent and not is_about_one_key(error)


def is_outage(error: DingTalkError) -> bool:
    """Whether DingTalk could not be reached at all."""
    return isinstance(error, NotSentError)
