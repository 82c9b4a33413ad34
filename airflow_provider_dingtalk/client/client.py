"""Client for DingTalk's API; the only module that sends requests to DingTalk.

It gets the token, applies the rate limit, sends the request and reads the answer within a timeout. It retries calls
that only read, or that were not carried out. The caller decides about a send or recall in doubt.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx

from airflow_provider_dingtalk.client.auth import App, InThread, Tokens
from airflow_provider_dingtalk.client.clock import Clock, SystemClock
from airflow_provider_dingtalk.client.endpoints import AccessToken, Auth, Endpoint, Idempotency
from airflow_provider_dingtalk.client.error_codes import error_for
from airflow_provider_dingtalk.client.hosts import Hosts
from airflow_provider_dingtalk.client.protocol import (
    MAX_BODY_BYTES,
    RawResponse,
    announced_length,
    request_for,
    result_of,
    unexpected_answer,
)
from airflow_provider_dingtalk.client.proxy import Proxy
from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
from airflow_provider_dingtalk.client.retry import (
    LONG_WAIT,
    RetryPolicy,
    RetryState,
    is_dead_token,
    seconds_until_retry,
    should_retry,
)
from airflow_provider_dingtalk.client.transport import MAX_CONNECTIONS, transport_for
from airflow_provider_dingtalk.client.unreachable import no_response, not_sent
from airflow_provider_dingtalk.exceptions import (
    BannedError,
    ConnectionFailedError,
    DingTalkError,
    InvalidInputError,
    OutcomeUnknownError,
    ServerError,
    ThrottlingError,
    UnexpectedHtmlError,
    without_frames,
)

Result = TypeVar("Result")

#: Timeout of making a connection, in seconds.
CONNECT_TIMEOUT = 10.0

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


class DingTalkClient:
    """Client of one app, for one event loop.

    :param app: Credentials of the app.
    :param hosts: Base URLs of DingTalk or of the sandbox.
    :param limiter: Rate limiter, shared by all clients of this app; default one of its own with 20 calls a second.
    :param ca_file: PEM file to trust instead of the usual certificates.
    :param proxy: HTTP proxy; default the environment's.
    :param transport: HTTP transport; default pooled connections to the hosts.
    :param clock: Source of time; default the system's.
    :param retry_policy: Timeout and retry limits.
    :param on_token: Receives each new token before its first use, to mask it in logs.
    :param in_thread: Runs sync code that may block; default ``asyncio.to_thread``.
    """

    def __init__(
        self,
        app: App,
        hosts: Hosts,
        *,
        limiter: RateLimiter | None = None,
        ca_file: str | None = None,
        proxy: Proxy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        retry_policy: RetryPolicy | None = None,
        on_token: Callable[[str], Awaitable[Any]] | None = None,
        in_thread: InThread = asyncio.to_thread,
    ) -> None:
        self._app = app
        self._in_thread = in_thread
        self._hosts = hosts
        self._clock = clock or SystemClock()
        self._limiter = limiter or RateLimiter(clock=self._clock)
        self._retry_policy = retry_policy or RetryPolicy()
        self._transports = {base: transport or transport_for(base, ca_file, proxy) for base in {hosts.api, hosts.oapi}}
        # A call beyond the limit would open a further connection, so it waits here.
        self._gate = asyncio.Semaphore(self.in_flight)
        self._tokens = Tokens(self._get_token, self._clock, on_token)
        self._banned_until = float("-inf")

    def __repr__(self) -> str:
        return f"DingTalkClient({self._app!r}, {self._hosts.api})"

    async def call(self, endpoint: Endpoint[Result], used: Counter[str] | None = None, why: str = "") -> Result:
        """Call DingTalk, with retries.

        :param used: Counts the requests of this call under ``why``, and throttles under ``throttled``.
        :param why: Purpose of the call; default the name of the API.
        :raises DingTalkError: If the call failed or is in doubt; see the tree of errors.
        """
        tally = used if used is not None else Counter()
        state, is_read = RetryState(), endpoint.http.idempotency is Idempotency.READ
        dead: AccessToken | None = None
        while True:
            # The request for a token has tries of its own, so it does not count here.
            token = await self._token_for(endpoint, tally, dead)
            try:
                return await self._send(endpoint, token, tally, why or endpoint.name)
            except DingTalkError as error:
                state.count(error, self._clock.monotonic())
                if not should_retry(error, state, self._retry_policy, is_read=is_read):
                    raise
                dead = token if is_dead_token(error) else None
                seconds = seconds_until_retry(error, state, is_limited=self._limiter.in_flight is not None)
            await self._clock.sleep(seconds)

    @property
    def in_flight(self) -> int:
        """Maximum number of calls in flight; further calls wait."""
        return min(self._limiter.in_flight or MAX_CONNECTIONS, MAX_CONNECTIONS)

    async def authenticate(self) -> None:
        """Get a token, unless a valid one is cached.

        :raises AuthenticationError: If DingTalk refuses the credentials.
        :raises DingTalkError: If the request fails for another reason.
        """
        await self._tokens.get(Counter())

    async def aclose(self) -> None:
        """Close the connections."""
        for transport in self._transports.values():
            await transport.aclose()

    async def _token_for(
        self, endpoint: Endpoint[Any], used: Counter[str], dead: AccessToken | None
    ) -> AccessToken | None:
        if endpoint.http.auth is Auth.NONE:
            return None
        try:
            return await self._tokens.get(used, dead)
        except (OutcomeUnknownError, ServerError) as error:
            failed: DingTalkError = error
        except DingTalkError:
            raise
        except Exception as error:  # of any source of a suite ticket, or of the callback; its text may hold a secret
            name, step = type(error).__name__, "See whether Airflow's API server is up."
            failed = DingTalkError(f"{name}.", message_zh=f"{name}。", next_step=step)
        # The call was not sent, whatever the outcome of the request for a token.
        raise ConnectionFailedError(
            f"{endpoint.name}: no access token. {failed.message}",
            message_zh=f"{endpoint.name}：没有 access_token。{failed.in_chinese}",
            code="not_sent",
            next_step=failed.next_step,
            next_step_zh=failed.next_step_zh,
        )

    async def _send(
        self, endpoint: Endpoint[Result], token: AccessToken | None, used: Counter[str], why: str
    ) -> Result:
        async with self._limiter.permit(endpoint.name), self._gate:
            self._raise_if_banned(endpoint)
            used[why] += 1
            if self._limiter.in_flight:
                # Permit and request are the longest work of a call: others in this event loop may run between.
                await asyncio.sleep(0)
            answer = await self._exchange(endpoint, token)
        if not isinstance(answer, DingTalkError):
            return answer
        used[why] -= isinstance(answer, ConnectionFailedError | InvalidInputError)
        self._delay_later_calls(endpoint, answer, used)
        raise answer

    def _delay_later_calls(self, endpoint: Endpoint[Any], error: DingTalkError, used: Counter[str]) -> None:
        """Apply the delay of a ban or throttle to later calls, and count throttles."""
        if isinstance(error, BannedError | UnexpectedHtmlError):
            self._banned_until = self._clock.monotonic() + error.retry_after
        elif isinstance(error, ThrottlingError):
            self._limiter.throttled(endpoint.name, min(error.retry_after, LONG_WAIT))
        if isinstance(error, ThrottlingError):
            used["throttled"] += 1

    def _raise_if_banned(self, endpoint: Endpoint[Any]) -> None:
        """Raise an error during a ban, because it covers all APIs."""
        left = self._banned_until - self._clock.monotonic()
        if left > 0:
            raise error_for("1111", "not sent: this address is shut out", endpoint=endpoint.name, retry_after=left)

    async def _get_token(self, used: Counter[str]) -> AccessToken:
        return await self.call(await self._app.token_request(self._in_thread), used, "token")

    async def _exchange(self, endpoint: Endpoint[Result], token: AccessToken | None) -> Result | DingTalkError:
        """Send one request and return its result or its error.

        The frames below hold the token, so they must not be part of the error's traceback.
        """
        base_url, text = self._hosts.base_url(endpoint.http.host), token.access_token if token else ""
        try:
            response = await self._response(endpoint, request_for(endpoint, base_url, text))
            return result_of(endpoint, response, (*self._app.secrets(), *endpoint.secrets(), text))
        except DingTalkError as error:
            return without_frames(error)

    async def _response(self, endpoint: Endpoint[Any], request: httpx.Request) -> RawResponse:
        seconds = self._retry_policy.request_deadline
        # The connect timeout is shorter than the timeout of the request. Otherwise a failed connection would look
        # like a call without a response.
        request.extensions = {"timeout": {"connect": min(CONNECT_TIMEOUT, seconds / 2)}}
        try:
            async with asyncio.timeout(seconds):
                return await self._read(endpoint, request)
        except DingTalkError:
            raise
        except _NOT_SENT as error:
            raise not_sent(endpoint.name, request.url, error) from None
        except Exception as error:  # of any library; without an answer the call is in doubt
            problem = f"{type(error).__name__}, limit {seconds:g} s"
            raise no_response(endpoint.name, request.url, problem) from None

    async def _read(self, endpoint: Endpoint[Any], request: httpx.Request) -> RawResponse:
        transport = self._transports[self._hosts.base_url(endpoint.http.host)]
        response = await transport.handle_async_request(request)
        body = bytearray()
        try:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise unexpected_answer(endpoint, "a compressed answer, which was not asked for")
            length = announced_length(response.headers)
            async for chunk in response.stream:  # type: ignore[union-attr]
                body += chunk
                if max(length, len(body)) > MAX_BODY_BYTES:
                    raise unexpected_answer(endpoint, f"an answer of more than {MAX_BODY_BYTES} bytes")
        finally:
            await response.aclose()
        return RawResponse(response.status_code, response.headers, body)
