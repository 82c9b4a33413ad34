"""Calls that nobody but a probe makes: with too many keys, and with a token that is none."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from airflow_provider_dingtalk.api.endpoints import Endpoint, RecallGroupMessages
from airflow_provider_dingtalk.api.wire import Wire, request_for, result_of

#: Of the form that DingTalk's tokens have.
NO_TOKEN = "0" * 32
DEADLINE = 30.0


class RecallTooManyGroupMessages(RecallGroupMessages, kw_only=True, frozen=True):
    """The recall of group messages, without the check that keeps everybody else at 20 keys."""

    process_query_keys: list[str]


class Transport(Protocol):
    """A socket; httpx's, but only :mod:`~airflow_provider_dingtalk.api.transport` knows that."""

    async def handle_async_request(self, request: Any) -> Any:
        """Send, and give the answer."""


async def call_with_no_token(transport: Transport, base_url: str, endpoint: Endpoint[Any]) -> object:
    """Make a call with a token that is none. The client cannot: it would renew the token.

    :raises DingTalkError: What DingTalk says to that.
    """
    async with asyncio.timeout(DEADLINE):
        request = request_for(endpoint, base_url, NO_TOKEN)
        request.extensions = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), DEADLINE)}
        response = await transport.handle_async_request(request)
        body = await response.aread()
        await response.aclose()
    result: object = result_of(endpoint, Wire(response.status_code, response.headers, body), (NO_TOKEN,))
    return result
