"""Calls for the probe only, with 21 keys or an invalid token."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from airflow_provider_dingtalk.client.endpoints import Endpoint, RecallGroupMessages
from airflow_provider_dingtalk.client.protocol import RawResponse, request_for, result_of

#: Invalid token in the form of DingTalk's tokens.
INVALID_TOKEN = "0" * 32
#: Timeout of the call in seconds.
TIMEOUT = 30.0


class RecallTooManyGroupMessages(RecallGroupMessages, kw_only=True, frozen=True):
    """Recall of group messages without the limit of 20 keys."""

    process_query_keys: list[str]


class Transport(Protocol):
    """HTTP transport; only :mod:`~airflow_provider_dingtalk.client.transport` knows that it is httpx's."""

    async def handle_async_request(self, request: Any) -> Any:
        """Send a request and return the response."""


async def call_with_invalid_token(transport: Transport, base_url: str, endpoint: Endpoint[Any]) -> object:
    """Make a call with an invalid token.

    The client would renew the token, so this uses the transport.

    :raises DingTalkError: If DingTalk refuses the call.
    """
    async with asyncio.timeout(TIMEOUT):
        request = request_for(endpoint, base_url, INVALID_TOKEN)
        request.extensions = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT)}
        response = await transport.handle_async_request(request)
        body = await response.aread()
        await response.aclose()
    result: object = result_of(endpoint, RawResponse(response.status_code, response.headers, body), (INVALID_TOKEN,))
    return result
