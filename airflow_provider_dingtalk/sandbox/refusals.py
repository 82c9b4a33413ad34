"""How DingTalk says no: one exception per host, and the envelopes they travel in."""

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


class Refusal(Exception):
    """A refusal by the new host.

    :param code: DingTalk's error code.
    :param message: For people; DingTalk documents most of its messages as ``%s``.
    :param status: HTTP status.
    """

    def __init__(self, code: str, message: str = "", status: int = 400) -> None:
        super().__init__(code)
        self.code = code
        self.message = message or code
        self.status = status

    def body(self, request_id: str) -> dict[str, Any]:
        """The JSON that goes over the wire."""
        return {"requestid": request_id, "code": self.code, "message": self.message}


class OldRefusal(Refusal):
    """A refusal by the old host: HTTP 200, the truth is in ``errcode``.

    :param errcode: DingTalk's number, or the number of the cause when ``wrapped``.
    :param wrapped: Whether the gateway refused: ``errcode`` 88 outside, the cause in ``sub_code`` as text.
    """

    def __init__(self, errcode: int, errmsg: str, *, wrapped: bool = False) -> None:
        super().__init__(str(errcode), errmsg, 200)
        self.errcode = errcode
        self.wrapped = wrapped

    def body(self, request_id: str) -> dict[str, Any]:
        """The JSON that goes over the wire."""
        if not self.wrapped:
            return {"errcode": self.errcode, "errmsg": self.message, "request_id": request_id}
        return {
            "errcode": WRAPPED,
            "sub_code": self.code,
            "sub_msg": self.message,
            "errmsg": f"ding talk error[subcode={self.code},submsg={self.message}]",
            "request_id": request_id,
        }


def dead_token(*, old_host: bool, code: str = DEAD_TOKEN, status: int = 400) -> Refusal:
    """The token is unknown, revoked or too old. Not HTTP 401, whatever one expects."""
    if old_host:
        return OldRefusal(40014, DEAD_TOKEN_TEXT, wrapped=True)
    return Refusal(code, DEAD_TOKEN_TEXT, status)


def missing_token(*, old_host: bool) -> Refusal:
    """There is no token where the host looks for one."""
    if old_host:
        return OldRefusal(40000, "access_token is blank", wrapped=True)
    return Refusal("AuthenticationFailed.MissingParameter", "缺少参数：x-acs-dingtalk-access-token")


def throttled(*, old_host: bool) -> Refusal:
    """Too many calls of one app to one API within a second."""
    if old_host:
        return OldRefusal(90018, "too many calls of this app to this API within a second", wrapped=True)
    return Refusal(QPS_LIMIT, "too many calls of this app to this API within a second", 403)


def month_used_up(*, old_host: bool) -> Refusal:
    """The organisation has made all calls of its month. The HTTP status is our choice."""
    if old_host:
        return OldRefusal(90020, "the organisation has made all its calls of this month", wrapped=True)
    return Refusal(MONTHLY_LIMIT, "the organisation has made all its calls of this month", 403)


def no_such_path(*, old_host: bool) -> Refusal:
    """DingTalk has no such API, or not with this HTTP method."""
    if old_host:
        return OldRefusal(22, "no such method")
    return Refusal("InvalidAction.NotFound", "no such API", 404)
