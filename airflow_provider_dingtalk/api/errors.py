"""What can go wrong, as a tree.

::

    DingTalkError
    ├─ ConfigurationError            the connection cannot work: nothing was sent
    ├─ InvalidInputError             an argument cannot work: nothing was sent (also a ValueError)
    ├─ NotSentError                  no connection was made: nothing reached DingTalk
    ├─ AmbiguousError                the call may or may not have been carried out
    │  ├─ LostAnswerError            the connection broke, or no whole answer came in time
    │  └─ UnexpectedResponseError    an answer that is none: cut or foreign JSON, a redirect
    │     └─ ForeignPageError        a page for people: a ban, or a proxy's
    └─ ResponseError                 DingTalk answered with an error code
       ├─ AuthenticationError        key, secret, ticket or token refused
       ├─ PermissionDeniedError      the app may not do this
       ├─ ThrottlingError            too many calls just now: refused before acting
       │  └─ BannedError             this machine's address is shut out for minutes
       ├─ QuotaExhaustedError        the organisation's calls of this month are used up
       ├─ RecallExpiredError         too old to be recalled
       ├─ StatusUnavailableError     no status yet, or no longer: DingTalk does not say which
       ├─ PartialRecallError         the call failed, yet some of its messages may be gone
       ├─ InvalidKeyError            a message key is wrong, or of another robot
       ├─ InvalidRequestError        anything else in the request that DingTalk refuses
       └─ ServerError                DingTalk's own trouble: the call may have been carried out

Which code becomes which error stands in :mod:`airflow_provider_dingtalk.api.error_codes`. Every name can be
used in an ``ExceptionRetryPolicy`` rule of Airflow, and so can those of the work as a whole::

    DingTalkError
    ├─ execution.IncompleteRecallError         some messages are not recalled
    ├─ guards.TooManyMessagesError             more than max_messages: nothing was recalled
    ├─ sending.SendNotRepeatedError            sent before, or perhaps: nothing was sent again
    ├─ messaging.send.IncompleteSendError      some calls did not send, or it is unknown
    ├─ messaging.send.DroppedReceiversError    DingTalk left people out
    ├─ messaging.wait_state.MessageRecalledError   it was taken back while somebody waited for it
    ├─ messaging.wait_state.NoRecipientsError   no recipient got it
    ├─ messaging.wait_state.ConditionUnreachableError   more must read it than got it
    ├─ messaging.wait_state.TooManyCallsError  max_api_calls are used up
    └─ messaging.ledger.LedgerError            the ledger cannot be read or written
       └─ messaging.ledger.SupersededError     a later try has begun
"""

from __future__ import annotations

from typing import Any, Self, TypeVar

Error = TypeVar("Error", bound=BaseException)


class DingTalkError(Exception):
    """The root of the tree.

    :param message: What happened, without secrets.
    :param code: DingTalk's code, or a word of ours in snake_case where DingTalk said none.
    :param next_step: What a person can do about it, in English.
    :param next_step_zh: The same in Chinese.
    :param permanent: Whether trying again, unchanged, is pointless.
    """

    #: Whether another try of the same task is pointless.
    permanent: bool = False

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        next_step: str = "",
        next_step_zh: str = "",
        permanent: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.next_step = next_step
        self.next_step_zh = next_step_zh
        if permanent is not None:
            self.permanent = permanent

    def __str__(self) -> str:
        return " ".join(part for part in (self.message, self.next_step, self.next_step_zh) if part)

    def __reduce__(self) -> tuple[Any, ...]:
        # The default rebuilds from positional arguments only and would lose all others.
        return _rebuilt, (type(self), self.message, self.__dict__)

    @classmethod
    def _blank(cls, message: str) -> Self:
        error = cls.__new__(cls, message)
        Exception.__init__(error, message)
        return error


def _rebuilt(cls: type[DingTalkError], message: str, attributes: dict[str, Any]) -> DingTalkError:
    error = cls._blank(message)
    error.__dict__.update(attributes)
    return error


def without_frames(error: Error) -> Error:
    """Take the frames off an error, and the errors behind it, because their locals hold secrets.

    Trackers and Airflow's tracebacks for developers show locals. To be raised again outside of the handler.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def shown(value: Any) -> str:
    """Show the beginning of a value in an error's text, whatever it is."""
    try:
        text = str(value)
    except Exception:  # an integer of more digits than Python prints, or an object of the caller's
        return f"of type {type(value).__name__}"
    return repr(text[:40])


class ConfigurationError(DingTalkError):
    """The connection cannot work as it is. Nothing was sent."""

    permanent = True


class InvalidInputError(DingTalkError, ValueError):
    """An argument cannot work. Nothing was sent.

    :param field: Name of the argument.
    """

    permanent = True

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}", code="invalid_input")
        self.field = field


class NotSentError(DingTalkError):
    """No connection to DingTalk was made, so the call was not carried out."""


class AmbiguousError(DingTalkError):
    """The call went out, and nobody can say whether it was carried out."""


class LostAnswerError(AmbiguousError):
    """The connection broke, or no whole answer came in time."""


class UnexpectedResponseError(AmbiguousError):
    """The answer is none that DingTalk documents: another content type, cut or foreign JSON, a redirect."""


class ForeignPageError(UnexpectedResponseError):
    """A page for people came instead of an answer.

    That is how DingTalk shuts out an address that calls too often; a proxy in between may do the same, and
    may do it after the call was carried out.

    :param retry_after: Seconds to wait before the next call.
    """

    def __init__(self, message: str, *, retry_after: float = 300.0, **common: Any) -> None:
        super().__init__(message, **common)
        self.retry_after = retry_after


class ResponseError(DingTalkError):
    """DingTalk answered with an error code.

    :param endpoint: The API that was called, e.g. ``robot/groupMessages/recall``.
    :param status_code: HTTP status; the old host answers 200 to failures.
    :param request_id: DingTalk's id of the request: their support asks for it.
    """

    def __init__(
        self,
        message: str,
        *,
        endpoint: str = "",
        status_code: int = 0,
        request_id: str = "",
        **common: Any,
    ) -> None:
        super().__init__(message, **common)
        self.endpoint = endpoint
        self.status_code = status_code
        self.request_id = request_id


class AuthenticationError(ResponseError):
    """Key, secret, suite ticket or token was refused."""

    permanent = True


class PermissionDeniedError(ResponseError):
    """The app, the robot or this machine's address may not do this."""

    permanent = True


class ThrottlingError(ResponseError):
    """Too many calls just now. DingTalk refused before acting, so the call can be sent again.

    :param retry_after: Seconds to wait before the next call.
    """

    def __init__(self, message: str, *, retry_after: float = 1.0, **common: Any) -> None:
        super().__init__(message, **common)
        self.retry_after = retry_after


class BannedError(ThrottlingError):
    """The address of this machine called too often and is shut out, from all APIs, for minutes."""


class QuotaExhaustedError(ResponseError):
    """The organisation has used up its API calls of this month."""

    permanent = True


class RecallExpiredError(ResponseError):
    """The message is too old to be recalled."""

    permanent = True


class StatusUnavailableError(ResponseError):
    """There is no status: not yet, or no longer. DingTalk has one code for both."""


class PartialRecallError(ResponseError):
    """The recall failed as a whole, yet some of its messages may be gone."""


class InvalidKeyError(ResponseError):
    """A message key is wrong, or belongs to a message of another robot."""

    permanent = True


class InvalidRequestError(ResponseError):
    """DingTalk refuses something in the request."""

    permanent = True


class ServerError(ResponseError):
    """DingTalk had trouble of its own; the call may have been carried out."""
