"""DingTalk's API errors, with an exception class and JSON form per host."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

PARAM_INVALID = "invalidParameter.param.invalid"

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
        """Return the JSON body of the response."""
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
        """Return the JSON body of the response."""
        if not self.wrapped:
            return {"errcode": self.errcode, "errmsg": self.message, "request_id": request_id}
        return {
            "errcode": WRAPPED,
            "sub_code": self.code,
            "sub_msg": self.message,
            "errmsg": f"ding talk error[subcode={self.code},submsg={self.message}]",
            "request_id": request_id,
        }


class GatewayError(Struct, frozen=True):
    """Error of the gateway, with its form on either host."""

    code: str  # Code of the new host
    errcode: int  # Error number of the old host
    message: str
    status: int = 403  # HTTP status of the new host; default 403
    errmsg: str = ""  # Text of the old host; default the message

    def on(self, *, old_host: bool) -> ApiError:
        """Return the exception for a host."""
        if old_host:
            return LegacyApiError(self.errcode, self.errmsg or self.message, wrapped=True)
        return ApiError(self.code, self.message, self.status)


#: Unknown, revoked or expired token; by default HTTP 400, not 401.
DEAD_TOKEN = GatewayError("InvalidAuthentication", 40014, "不合法的access_token", 400)
MISSING_TOKEN = GatewayError(
    "AuthenticationFailed.MissingParameter",
    40000,
    "缺少参数：x-acs-dingtalk-access-token",
    400,
    "access_token is blank",
)
THROTTLED = GatewayError(
    "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi", 90018, "too many calls of this app to this API within a second"
)
#: Used-up monthly quota; its HTTP status is our choice.
MONTH_USED_UP = GatewayError(
    "Forbidden.AccessDenied.ApiCountLimitForOrg", 90020, "the organisation has made all its calls of this month"
)


def bad_parameter(detail: str, *, old_host: bool) -> ApiError:
    """Return the error for an invalid parameter.

    No page of these APIs names the old host's code for it, so 40035 is our choice.
    """
    if old_host:
        return LegacyApiError(40035, f"invalid parameter: {detail}")
    return ApiError(PARAM_INVALID, detail)


def no_such_path(path: str) -> ApiError:
    """Return the error for an unknown path or HTTP method.

    Both hosts share the port, so only the path names the host.
    """
    if path.startswith(("/v1.0", "/v2.0")):
        return ApiError("InvalidAction.NotFound", "no such API", 404)
    return LegacyApiError(22, "no such method")
