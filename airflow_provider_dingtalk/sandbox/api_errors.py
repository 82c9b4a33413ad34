"""DingTalk's API errors, with an exception class and JSON form per host."""

from __future__ import annotations

from typing import Any

SYSTEM_ERROR = "system.error"
PARAM_INVALID = "invalidParameter.param.invalid"
QPS_LIMIT = "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi"
MONTHLY_LIMIT = "Forbidden.AccessDenied.ApiCountLimitForOrg"
DEAD_TOKEN = "InvalidAuthentication"
DEAD_TOKEN_TEXT = "不合法的access_token"

#: ``errcode`` under which the old host wraps what its gateway refuses; the cause is in ``sub_code``.
WRAPPED = 88


class ApiError(Exception):
    """API error of the new host.

    :param code: DingTalk's error code.
    :param message: Text for people; default the code. DingTalk documents most of its messages as ``%s``.
    :param status: HTTP status; default 400.
    """

    def __init__(self, code: str, message: str = "", status: int = 400) -> None:
        super().__init__(code)
        self.code = code
        self.message = message or code
        self.status = status

    def body(self, request_id: str) -> dict[str, Any]:
        """Return the JSON body of the answer."""
        return {"requestid": request_id, "code": self.code, "message": self.message}


class LegacyApiError(ApiError):
    """API error of the old host, in ``errcode`` and with HTTP 200.

    :param errcode: DingTalk's error number, or that of the cause if ``wrapped``.
    :param wrapped: Error of the gateway, with ``errcode`` 88 and the cause in ``sub_code`` as text; default False.
    """

    def __init__(self, errcode: int, errmsg: str, *, wrapped: bool = False) -> None:
        super().__init__(str(errcode), errmsg, 200)
        self.errcode = errcode
        self.wrapped = wrapped

    def body(self, request_id: str) -> dict[str, Any]:
        """Return the JSON body of the answer."""
        if not self.wrapped:
            return {"errcode": self.errcode, "errmsg": self.message, "request_id": request_id}
        return {
            "errcode": WRAPPED,
            "sub_code": self.code,
            "sub_msg": self.message,
            "errmsg": f"ding talk error[subcode={self.code},submsg={self.message}]",
            "request_id": request_id,
        }


def dead_token(*, old_host: bool, code: str = DEAD_TOKEN, status: int = 400) -> ApiError:
    """Return the error for an unknown, revoked or expired token.

    On the new host it is by default HTTP 400, not 401.
    """
    if old_host:
        return LegacyApiError(40014, DEAD_TOKEN_TEXT, wrapped=True)
    return ApiError(code, DEAD_TOKEN_TEXT, status)


def missing_token(*, old_host: bool) -> ApiError:
    """Return the error for a missing token."""
    if old_host:
        return LegacyApiError(40000, "access_token is blank", wrapped=True)
    return ApiError("AuthenticationFailed.MissingParameter", "缺少参数：x-acs-dingtalk-access-token")


def throttled(*, old_host: bool) -> ApiError:
    """Return the error for an app that exceeds an API's rate limit."""
    if old_host:
        return LegacyApiError(90018, "too many calls of this app to this API within a second", wrapped=True)
    return ApiError(QPS_LIMIT, "too many calls of this app to this API within a second", 403)


def month_used_up(*, old_host: bool) -> ApiError:
    """Return the error for a used-up monthly quota; its HTTP status is our choice."""
    if old_host:
        return LegacyApiError(90020, "the organisation has made all its calls of this month", wrapped=True)
    return ApiError(MONTHLY_LIMIT, "the organisation has made all its calls of this month", 403)


def no_such_path(*, old_host: bool) -> ApiError:
    """Return the error for an unknown path or HTTP method."""
    if old_host:
        return LegacyApiError(22, "no such method")
    return ApiError("InvalidAction.NotFound", "no such API", 404)
