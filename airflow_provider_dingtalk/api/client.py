"""The client: the one place that talks to DingTalk.

``await client.call(endpoint)`` gets the token, keeps the pace, sends, reads within a deadline, and either
returns the endpoint's result or raises from the tree in :mod:`~airflow_provider_dingtalk.api.errors`. It
sends again only what was not carried out (throttled, dead token, no connection) and what only reads. A
recall or send without a clear answer is the caller's to settle: only they know what is at stake.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx
import msgspec

from airflow_provider_dingtalk.api.auth import App, InThread, Tokens
from airflow_provider_dingtalk.api.clock import Clock, SystemClock
from airflow_provider_dingtalk.api.endpoints import AccessToken, Auth, Effect, Endpoint
from airflow_provider_dingtalk.api.error_codes import Retry, error_for, rule_for
from airflow_provider_dingtalk.api.errors import (
    AmbiguousError,
    BannedError,
    DingTalkError,
    ForeignPageError,
    InvalidInputError,
    LostAnswerError,
    NotSentError,
    ResponseError,
    ServerError,
    ThrottlingError,
    without_frames,
)
from airflow_provider_dingtalk.api.hosts import Hosts
from airflow_provider_dingtalk.api.limits import Limiter
from airflow_provider_dingtalk.api.proxy import Proxy
from airflow_provider_dingtalk.api.transport import MAX_CONNECTIONS, transport_for
from airflow_provider_dingtalk.api.unreachable import address_of, not_sent
from airflow_provider_dingtalk.api.wire import (
    MAX_BODY_BYTES,
    Wire,
    announced_length,
    request_for,
    result_of,
    unexpected_answer,
)

Result = TypeVar("Result")

#: Seconds for one request, from the first byte sent to the last byte read.
REQUEST_DEADLINE = 30.0
#: Seconds to make a connection.
CONNECT_DEADLINE = 10.0
#: Tries of a call that fails without harm.
MAX_TRIES = 3
#: Seconds that are waited here at most.
LONG_WAIT = 60.0
#: Tries of a call that DingTalk throttles, about a second apart.
MAX_THROTTLED_TRIES = 60

_UNSENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long a client tries.

    :param request_deadline: Seconds for one request, its whole body included.
    :param tries: Tries of a call that fails without harm.
    :param throttled_tries: Tries of a call that is throttled.
    """

    request_deadline: float = REQUEST_DEADLINE
    tries: int = MAX_TRIES
    throttled_tries: int = MAX_THROTTLED_TRIES


class DingTalkClient:
    """One app's way to DingTalk, for one event loop.

    :param limiter: The pace; shared by all who call as this app.
    :param ca_file: PEM file to trust instead of the usual certificates.
    :param proxy: HTTP proxy; by default the environment's.
    :param transport: The socket; by default TLS connections to the hosts, kept for a while.
    :param on_token: Told each new token before it is used, to have it masked in logs.
    :param in_thread: Runs sync code that may block; default ``asyncio.to_thread``.
    """

    def __init__(
        self,
        app: App,
        hosts: Hosts,
        *,
        limiter: Limiter | None = None,
        ca_file: str | None = None,
        proxy: Proxy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        patience: Patience | None = None,
        on_token: Callable[[str], Awaitable[Any]] | None = None,
        in_thread: InThread = asyncio.to_thread,
    ) -> None:
        self._app = app
        self._in_thread = in_thread
        self._hosts = hosts
        self._clock = clock or SystemClock()
        self._limiter = limiter or Limiter(clock=self._clock)
        self._patience = patience or Patience()
        self._transports = {
            base: transport or transport_for(base, ca_file, proxy) for base in {hosts.api, hosts.oapi}
        }
        # Each call beyond it would open one more connection.
        self._gate = asyncio.Semaphore(self.in_flight)
        self._tokens = Tokens(self._get_token, self._clock, on_token)
        self._banned_until = float("-inf")

    def __repr__(self) -> str:
        return f"DingTalkClient({self._app!r}, {self._hosts.api})"

    async def call(self, endpoint: Endpoint[Result], used: Counter[str] | None = None, why: str = "") -> Result:
        """Call DingTalk.

        :param used: Counts the requests that this call took, under ``why``, and those that were ``throttled``.
        :param why: What the call is for; by default the API's name.
        :raises DingTalkError: See the tree.
        """
        tally = used if used is not None else Counter()
        tries = Tries(endpoint, self._patience)
        dead: AccessToken | None = None
        while True:
            # Not one of these tries: the call for a token has its own.
            token = await self._token_for(endpoint, tally, dead)
            try:
                return await self._send(endpoint, token, tally, why or endpoint.name)
            except DingTalkError as error:
                if not tries.again(error):
                    raise
                dead = token if _is_dead_token(error) else None
                seconds = tries.wait(error)
            await self._clock.sleep(seconds)

    @property
    def in_flight(self) -> int:
        """Calls that are under way at once at most; whoever starts more has them wait."""
        return min(self._limiter.in_flight or MAX_CONNECTIONS, MAX_CONNECTIONS)

    async def authenticate(self) -> None:
        """Get a token, unless a living one is there.

        :raises AuthenticationError: DingTalk refuses the credentials.
        """
        await self._tokens.get(Counter())

    async def aclose(self) -> None:
        """Close the connections."""
        for transport in self._transports.values():
            await transport.aclose()

    # ── one call, several tries ──────────────────────────────────────────────────────────────────────

    async def _token_for(
        self, endpoint: Endpoint[Any], used: Counter[str], dead: AccessToken | None
    ) -> AccessToken | None:
        if endpoint.http.auth is Auth.NONE:
            return None
        try:
            return await self._tokens.get(used, dead)
        except (AmbiguousError, ServerError) as error:
            failed = error
        # Whatever became of the call for a token: the call that needs it did not go out.
        raise NotSentError(
            f"{endpoint.name}: no access token. {failed.message}",
            code="not_sent",
            next_step=failed.next_step,
            next_step_zh=failed.next_step_zh,
        )

    async def _send(
        self, endpoint: Endpoint[Result], token: AccessToken | None, used: Counter[str], why: str
    ) -> Result:
        async with self._limiter.slot(endpoint.name), self._gate:
            self._raise_if_banned(endpoint)
            used[why] += 1
            answer = await self._exchange(endpoint, token)
        if not isinstance(answer, DingTalkError):
            return answer
        used[why] -= isinstance(answer, NotSentError | InvalidInputError)
        self._take_to_heart(endpoint, answer, used)
        raise answer

    def _take_to_heart(self, endpoint: Endpoint[Any], error: DingTalkError, used: Counter[str]) -> None:
        """Keep what an error says of the calls to come."""
        if isinstance(error, BannedError | ForeignPageError):
            self._banned_until = self._clock.monotonic() + error.retry_after
        elif isinstance(error, ThrottlingError):
            self._limiter.hold(endpoint.name, min(error.retry_after, LONG_WAIT))
        if isinstance(error, ThrottlingError):
            used["throttled"] += 1

    def _raise_if_banned(self, endpoint: Endpoint[Any]) -> None:
        """Send nothing while this address is shut out: from all APIs, so by whoever asks."""
        left = self._banned_until - self._clock.monotonic()
        if left > 0:
            raise error_for("1111", "not sent: this address is shut out", endpoint=endpoint.name, retry_after=left)

    async def _get_token(self, used: Counter[str]) -> AccessToken:
        return await self.call(await self._app.token_request(self._in_thread), used, "token")

    # ── one request ──────────────────────────────────────────────────────────────────────────────────

    async def _exchange(self, endpoint: Endpoint[Result], token: AccessToken | None) -> Result | DingTalkError:
        """Send one request and read its answer; give the error back instead of raising it.

        The frames below know the token: they must not be part of the error's traceback.
        """
        base_url, text = self._hosts.base_url(endpoint.http.host), token.access_token if token else ""
        try:
            wire = await self._answer(endpoint, request_for(endpoint, base_url, text))
            return result_of(endpoint, wire, (*self._app.secrets(), *endpoint.secrets(), text))
        except DingTalkError as error:
            return without_frames(error)

    async def _answer(self, endpoint: Endpoint[Any], request: httpx.Request) -> Wire:
        seconds = self._patience.request_deadline
        # Connecting ends first, so that "not sent" is not mistaken for "lost". The rest has one deadline.
        request.extensions = {"timeout": {"connect": min(CONNECT_DEADLINE, seconds / 2)}}
        try:
            async with asyncio.timeout(seconds):
                return await self._read(endpoint, request)
        except DingTalkError:
            raise
        except _UNSENT as error:
            raise not_sent(endpoint.name, request.url, error) from None
        except Exception as error:  # of any library: without an answer nobody knows
            raise _lost(endpoint, request.url, type(error).__name__, seconds) from None

    async def _read(self, endpoint: Endpoint[Any], request: httpx.Request) -> Wire:
        base = self._hosts.base_url(endpoint.http.host)
        response = await self._transports[base].handle_async_request(request)
        body = bytearray()
        try:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise unexpected_answer(endpoint, "a compressed answer, which was not asked for")
            if announced_length(response.headers) > MAX_BODY_BYTES:
                raise _too_long(endpoint)
            async for chunk in response.stream:  # type: ignore[union-attr]
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise _too_long(endpoint)
        finally:
            await response.aclose()
        return Wire(response.status_code, response.headers, body)


def _lost(endpoint: Endpoint[Any], url: httpx.URL, problem: str, seconds: float) -> LostAnswerError:
    return LostAnswerError(
        f"{endpoint.name}: the answer of {address_of(url)} was lost ({problem}, limit {seconds:g} s).",
        code="no_answer",
        next_step="Ask for the status of the message, or run the recall again.",
        next_step_zh="请查询消息状态或重新执行撤回。",
    )


def _too_long(endpoint: Endpoint[Any]) -> Exception:
    return unexpected_answer(endpoint, f"an answer of more than {MAX_BODY_BYTES} bytes")


class Tries:
    """Decides whether a failed call is sent again, and when."""

    def __init__(self, endpoint: Endpoint[Any], patience: Patience) -> None:
        self._repeatable = endpoint.http.effect is Effect.READ
        self._patience = patience
        self._failed: Counter[str] = Counter()

    def again(self, error: DingTalkError) -> bool:
        """Whether to send again after this error."""
        if _is_dead_token(error):
            self._failed["dead token"] += 1
            return self._failed["dead token"] == 1
        if isinstance(error, ThrottlingError):
            # Whoever waits that long should not hold a worker meanwhile: the caller decides.
            if isinstance(error, BannedError) or error.retry_after > LONG_WAIT:
                return False
            self._failed["throttled"] += 1
            return self._failed["throttled"] < self._patience.throttled_tries
        harmless = isinstance(error, NotSentError) or (self._repeatable and _may_pass(error))
        self._failed["other"] += harmless
        return harmless and self._failed["other"] < self._patience.tries

    def wait(self, error: DingTalkError) -> float:
        """Seconds until then: what DingTalk asks for, or half a second, then twice as long each time."""
        if isinstance(error, ThrottlingError):
            return error.retry_after
        if _is_dead_token(error):
            return 0.0
        return float(0.5 * 2 ** (self._failed["other"] - 1))


def _is_dead_token(error: DingTalkError) -> bool:
    return isinstance(error, ResponseError) and rule_for(error.code, error.status_code).retry is Retry.REFRESH


def _may_pass(error: DingTalkError) -> bool:
    if isinstance(error, AmbiguousError):
        return not isinstance(error, ForeignPageError)
    return isinstance(error, ResponseError) and rule_for(error.code, error.status_code).retry is Retry.AGAIN
