"""HTTP responses of the sandbox, and exceptions for requests without a response."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from airflow_provider_dingtalk.sandbox.api_errors import ApiError

JSON_TYPE = "application/json;charset=utf-8"
OK = "ok"
THROTTLE_CODES = ("QpsLimit", "QpmLimit", "90018", "90002", "90019")


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """HTTP response to a request."""

    status: int
    body: bytes
    code: str = OK  # ``ok``, DingTalk's code, or the type of the fault that made the response; for the journal
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()  # Headers in addition to ``content-type`` and ``content-length``

    @property
    def throttled(self) -> bool:
        """Throttling flag: the gateway refused the call because there were too many."""
        return self.code != OK and any(code in self.code for code in THROTTLE_CODES)


class DropConnection(Exception):
    """Request that ends with a cut connection and no response.

    :param reset: Cut the connection by a TCP reset.
    """

    def __init__(self, *, reset: bool) -> None:
        super().__init__("cut")
        self.reset = reset


class ClientDisconnected(Exception):
    """Request without a response, because the client disconnected before."""


def json_response(data: Any) -> ApiResponse:
    """Return a response of HTTP 200 with JSON."""
    return ApiResponse(200, msgspec.json.encode(data))


def error_response(error: ApiError, request_id: str, headers: dict[str, str] | None = None) -> ApiResponse:
    """Return an API error in the JSON form of its host."""
    body = msgspec.json.encode(error.body(request_id))
    return ApiResponse(error.status, body, error.code, headers=tuple((headers or {}).items()))
