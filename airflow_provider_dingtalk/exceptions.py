"""Exception classes of the package, as one tree below :class:`DingTalkError`.

:mod:`airflow_provider_dingtalk.client.error_codes` maps DingTalk's codes to the classes below
:class:`ResponseError`. An Airflow ``ExceptionRetryPolicy`` rule can use every name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar

Error = TypeVar("Error", bound=BaseException)


class DingTalkError(Exception):
    """Base class of all errors of this package.

    :param message: Description of the failure, without secrets.
    :param code: DingTalk's code; without one, a snake_case code of this package.
    :param next_step: Next step for the user, in English.
    :param next_step_zh: Next step in Chinese.
    :param message_zh: Description in Chinese; default that of the language table, if it has one.
    :param permanent: True if an unchanged retry cannot succeed; default the attribute of the class.
    """

    #: True if a retry of the same task cannot succeed.
    permanent: bool = False
    #: Text between both languages.
    _between: ClassVar[str] = " "

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        next_step: str = "",
        next_step_zh: str = "",
        message_zh: str = "",
        permanent: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.message_zh = message_zh
        self.code = code
        self.next_step = next_step
        self.next_step_zh = next_step_zh
        if permanent is not None:
            self.permanent = permanent

    @property
    def advice(self) -> str:
        """Next step in the language of the option ``[dingtalk] language``."""
        # DAG files that name an exception need no texts, so these imports are not the module's.
        from airflow_provider_dingtalk.language import choose

        return choose(self.next_step, self.next_step_zh)

    @property
    def in_chinese(self) -> str:
        """Description in Chinese, or in English if it has no Chinese one."""
        from airflow_provider_dingtalk.language import CHINESE

        return self.message_zh or CHINESE.get(self.message, self.message)

    def __str__(self) -> str:
        from airflow_provider_dingtalk.language import in_each_language

        # Without a Chinese description the English one would be there twice for both languages.
        return self._text() if self.in_chinese == self.message else in_each_language(self._text, self._between)

    def _text(self) -> str:
        from airflow_provider_dingtalk.language import choose

        told, advice = choose(self.message, self.message_zh), self.advice
        # After a Chinese full stop there is no blank.
        return f"{told}{advice}" if told.endswith("。") else f"{told} {advice}".strip()

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception.__reduce__ passes positional arguments only, so unpickling would lose all other attributes.
        return Exception.__new__, (type(self), self.message), self.__dict__


def without_frames(error: Error) -> Error:
    """Remove an error's frames, cause and context, because their locals hold secrets.

    Error trackers and Airflow's developer tracebacks show locals. Raise the error again outside the handler.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def shown(value: Any) -> str:
    """Return the first 40 characters of any value, for an error's text."""
    try:
        text = str(value)
    except Exception:  # an integer of more digits than Python prints, or an object of the caller
        return f"of type {type(value).__name__}"
    return repr(text[:40])


class ConfigurationError(DingTalkError):
    """Error in the connection or in airflow.cfg. Nothing was sent."""

    permanent = True


class InvalidInputError(DingTalkError, ValueError):
    """Error for an invalid argument. Nothing was sent.

    :param field: Name of the argument.
    :param problem: Description of the error.
    :param problem_zh: Description in Chinese; default none.
    """

    permanent = True
    _between = " / "

    def __init__(self, field: str, problem: str, problem_zh: str = "", **common: Any) -> None:
        message_zh = f"{field}：{problem_zh}" if problem_zh else ""
        super().__init__(f"{field}: {problem}", code="invalid_input", message_zh=message_zh, **common)
        self.field = field


class ConnectionFailedError(DingTalkError):
    """Error for a failed connection. DingTalk did not carry out the call."""


class OutcomeUnknownError(DingTalkError):
    """Error for a call in doubt. It was sent, and its effect is unknown."""


class NoResponseError(OutcomeUnknownError):
    """Error for a broken connection or a timeout without whole answer."""


class UnexpectedResponseError(OutcomeUnknownError):
    """Error for an undocumented answer: another content type, cut or foreign JSON, a redirect."""


class UnexpectedHtmlError(UnexpectedResponseError):
    """Error for an HTML page in place of an answer.

    DingTalk bans an address that calls too often with such a page. A proxy may also send one, even after DingTalk
    carried out the call.

    :param retry_after: Seconds to wait before the next call; default 300.
    """

    def __init__(self, message: str, *, retry_after: float = 300.0, **common: Any) -> None:
        super().__init__(message, **common)
        self.retry_after = retry_after


class ResponseError(DingTalkError):
    """Error code in an answer of DingTalk.

    :param endpoint: Name of the API, e.g. ``robot/groupMessages/recall``.
    :param status_code: HTTP status. The old host answers failures with 200.
    :param request_id: DingTalk's id of the request; DingTalk's support asks for it.
    """

    def __init__(
        self, message: str, *, endpoint: str = "", status_code: int = 0, request_id: str = "", **common: Any
    ) -> None:
        super().__init__(message, **common)
        self.endpoint = endpoint
        self.status_code = status_code
        self.request_id = request_id


class AuthenticationError(ResponseError):
    """Refusal of key, secret, suite ticket or token."""

    permanent = True


class PermissionDeniedError(ResponseError):
    """Missing permission of the app, the robot or this machine's address."""

    permanent = True


class ThrottlingError(ResponseError):
    """Throttled call. DingTalk refused before acting, so the call can be repeated.

    :param retry_after: Seconds to wait before the next call; default 1.
    """

    def __init__(self, message: str, *, retry_after: float = 1.0, **common: Any) -> None:
        super().__init__(message, **common)
        self.retry_after = retry_after


class BannedError(ThrottlingError):
    """Ban of this machine's address from all APIs, for minutes."""


class QuotaExhaustedError(ResponseError):
    """Exhausted quota of the organisation's API calls of this month."""

    permanent = True


class RecallExpiredError(ResponseError):
    """Refusal of a recall because the message is too old."""

    permanent = True


class StatusUnavailableError(ResponseError):
    """Missing status of a message: not yet, or no longer. DingTalk has one code for both."""


class PartialRecallError(ResponseError):
    """Failure of a recall call that may have recalled some messages."""


class InvalidKeyError(ResponseError):
    """Wrong message key, or key of a message of another robot."""

    permanent = True


class InvalidRequestError(ResponseError):
    """Refusal of an invalid request."""

    permanent = True


class ServerError(ResponseError):
    """Failure at DingTalk. The call may have been carried out."""


class IncompleteSendError(DingTalkError):
    """Error of a send that is incomplete or in doubt.

    :param receipts: Receipts of the messages that were sent, which can be recalled; default none.
    """

    def __init__(self, message: str, *, receipts: Iterable[Any] = (), **common: Any) -> None:
        super().__init__(message, **common)
        self.receipts = list(receipts)


class DroppedReceiversError(DingTalkError):
    """Error of a send whose recipients DingTalk left out; the XCom ``dropped`` lists them."""

    permanent = True


class SendNotRepeatedError(DingTalkError):
    """Error for a task whose send could repeat messages of earlier tries."""

    permanent = True


class IncompleteRecallError(DingTalkError):
    """Error for messages that were not recalled; the XCom ``report`` has the reasons."""


class TooManyMessagesError(DingTalkError):
    """Error for more messages than ``max_messages`` allows; none was recalled."""

    permanent = True


class MissingReceiptsError(DingTalkError):
    """Error for registered receipts that cannot be read, whose messages no rollback finds."""

    permanent = True


class SendsInDoubtError(DingTalkError):
    """Error for sends that may have sent a message without a receipt, out of reach of a recall."""

    permanent = True


class MessageRecalledError(DingTalkError):
    """Error of a wait for another status whose message was recalled."""

    permanent = True


class NoRecipientsError(DingTalkError):
    """Error of a wait whose message reached no recipient."""

    permanent = True


class ConditionUnreachableError(DingTalkError):
    """Error of a wait whose condition can never hold for the message."""

    permanent = True


class TooManyCallsError(DingTalkError):
    """Error of a wait that has used its maximum of API calls."""

    permanent = True


class CheckpointError(DingTalkError):
    """Error of reading or writing a checkpoint."""


class SupersededError(CheckpointError):
    """Error of a try that may not write, since another try began."""


class AirflowRefusedError(DingTalkError):
    """Error for a login or permission that Airflow's REST API refuses."""

    permanent = True


class AirflowUnreachableError(DingTalkError):
    """Error for an Airflow REST API that is unreachable or answers unexpectedly."""


class DeclinedError(DingTalkError):
    """Error for a question to which the user did not agree."""
