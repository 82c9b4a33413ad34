"""Store of a limiter's state in Redis, shared by all hosts, or in the host's file while Redis is away.

Times in Redis are readings of its server's clock. A change reads the state and writes it if it is still the same, and
otherwise starts again. No fault of Redis stops a call or delays it by more than a second.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, TypeAlias, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from airflow_provider_dingtalk.client.clock import Clock
from airflow_provider_dingtalk.client.rate_limit.state import LimiterState, Rate, decode_state
from airflow_provider_dingtalk.client.rate_limit.store import StateStore
from airflow_provider_dingtalk.client.secret_fields import SecretFields
from airflow_provider_dingtalk.language import get_logger

log = get_logger(__name__)

T = TypeVar("T")
Change: TypeAlias = Callable[[LimiterState], T]

PREFIX = "dingtalk:rate_limit:"
#: Milliseconds without a write after which Redis deletes a state; longer than any time in it.
TTL_MS = 3_600_000
#: Timeout of a change in seconds, and seconds until a Redis that failed is tried again.
TIMEOUT, AWAY = 1.0, 30.0
#: Writes a state if it is the one that was read.
_WRITE = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""


class RedisUrl(SecretFields, Struct, frozen=True, kw_only=True):
    """URL of a Redis server. Its credentials are never shown.

    :param address: Scheme, host and port.
    :param url: The whole URL, as :meth:`redis.asyncio.Redis.from_url` takes it.
    """

    shown: ClassVar = ("address",)

    address: str
    url: str


def parse_redis_url(text: str) -> RedisUrl | None:
    """Parse ``redis://user:password@host:port/db`` or ``rediss://…``; return None if it is invalid."""
    try:
        parts = urlsplit(text)
        address = f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}"
    except ValueError:
        return None
    return RedisUrl(address=address, url=text) if parts.scheme in ("redis", "rediss") and parts.hostname else None


class RedisServer:
    """Connection to the Redis server that keeps the limits of one app, for one event loop.

    :param app: Name of the app. Keys have a hash of it only.
    :param timeout: Timeout of a change in seconds; default 1.
    """

    def __init__(self, url: RedisUrl, app: str, clock: Clock, timeout: float = TIMEOUT) -> None:
        self._url = url
        self._app = app
        self._clock = clock
        self.timeout = timeout
        self._client: Any = None
        self._write: Any = None
        self._away_until: float | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def is_away(self) -> bool:
        """True for 30 seconds after Redis failed."""
        return self._away_until is not None and self._clock.monotonic() < self._away_until

    def open(self) -> None:
        """Load the client of the package redis; it connects when it is used.

        :raises ImportError: If the package is not installed.
        """
        if self._client is None:
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff

            # One repetition, because the server may have closed a connection that was not used for some time.
            self._client = Redis.from_url(
                self._url.url, protocol=2, retry=Retry(NoBackoff(), 1), socket_connect_timeout=self.timeout
            )
            self._write = self._client.register_script(_WRITE)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task, for whose end :meth:`aclose` waits."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def key(self, api: str) -> str:
        """Return the key of an API's state."""
        return PREFIX + hashlib.sha256(f"{self._app}\n{api}".encode()).hexdigest()[:32]

    async def read(self, key: str) -> tuple[bytes, float]:
        """Read a state and the server's time in seconds."""
        pipeline = self._client.pipeline(transaction=False)
        text, (seconds, microseconds) = await pipeline.get(key).time().execute()
        return text or b"", seconds + microseconds / 1e6

    async def write(self, key: str, before: bytes, text: bytes) -> bool:
        """Write a state; return False, and write nothing, if it is no longer ``before``."""
        is_written = bool(await self._write(keys=[key], args=[before, text, TTL_MS]))
        if is_written and self._away_until is not None:
            log.info("The rate limit of DingTalk calls is shared through Redis at %s again.", self._url.address)
            self._away_until = None
        return is_written

    def give_up(self, error: Exception) -> None:
        """Stop using Redis for 30 seconds, and log one warning for each outage.

        The error's text is not logged: a server may repeat the password in it.
        """
        if self._away_until is None:
            why = "the extra redis is not installed" if isinstance(error, ImportError) else type(error).__name__
            log.warning(
                "The rate limit of DingTalk calls is kept by this host alone: Redis at %s failed (%s). Other hosts "
                "that call as the same app may get throttled. It is tried again every %d seconds. Check "
                "rate_limit_url in airflow.cfg, section [dingtalk].",
                self._url.address,
                why,
                AWAY,
            )
        self._away_until = self._clock.monotonic() + AWAY

    async def aclose(self) -> None:
        """Wait until all changes are written, and close the connections."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self.disconnect()

    async def disconnect(self) -> None:
        """Close the connections; the next use opens one again."""
        if self._client is not None:
            await self._client.aclose()


class RedisStore:
    """Store of one limiter's state in Redis.

    :param fallback: Store while Redis is away.
    """

    def __init__(self, api: str, rate: Rate, clock: Clock, server: RedisServer, fallback: StateStore) -> None:
        self._rate = rate
        self._clock = clock
        self._server = server
        self._fallback = fallback
        self._key = server.key(api)
        self._lock = asyncio.Lock()
        #: Changes that are not written yet. They come before all others.
        self._pending: list[Change[None]] = []
        self._writer: asyncio.Task[None] | None = None

    async def change(self, work: Change[T], undo: Change[None] | None = None) -> T | None:
        """Change the state and return the result of ``work``; None if only the file is left, and it is locked.

        :param work: Changes the state. It is called again if another process changed the state meanwhile.
        :param undo: Takes the change back if the caller is cancelled and does not get the result; default None.
        """
        # A task of its own, because the package redis may swallow a cancellation of the caller.
        task = self._server.start(self._changed(work))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if undo:
                task.add_done_callback(lambda _: self.record(undo))
            raise

    async def _changed(self, work: Change[T]) -> T | None:
        if not self._server.is_away:
            try:
                self._server.open()
                async with asyncio.timeout(self._server.timeout), self._lock:
                    return await self._change(work)
            except Exception as error:  # whatever it is, calls go on
                self._server.give_up(error)
        pending, self._pending = self._pending, []
        for each in pending:
            self._fallback.record(each)
        return self._fallback.change_now(work)

    def record(self, work: Change[None]) -> None:
        """Change the state soon, and before any later change.

        The task that releases a permit may be cancelled and cannot wait, so another task writes. If the process ends
        before, the lease of the permit ends.
        """
        self._pending.append(work)
        if self._writer is None or self._writer.done():
            self._writer = self._server.start(self._write_pending())

    async def _write_pending(self) -> None:
        try:
            while self._pending:
                await self._changed(lambda _: None)
        except asyncio.CancelledError:
            # The event loop ends. asyncio.run waits for this task, which takes a second at most.
            await self._changed(lambda _: None)
            await self._server.disconnect()
            raise

    async def _change(self, work: Change[T]) -> T:
        while True:
            # The reading before the request makes events seem later than they were, and permits free later.
            local = self._clock.monotonic()
            text, now = await self._server.read(self._key)
            known = decode_state(text, self._rate, now)
            state = known or self._new_state(now)
            state.move(local - now)
            # All hosts share this state, so no permit needs to return late for another one.
            state.late_at = local
            read = msgspec.json.encode(state)
            pending = list(self._pending)
            for each in pending:
                each(state)
            done = work(state)
            is_same = known is not None and msgspec.json.encode(state) == read  # as of a call that must wait
            state.move(now - local)
            if is_same or await self._server.write(self._key, text, msgspec.json.encode(state)):
                del self._pending[: len(pending)]
                return done

    def _new_state(self, now: float) -> LimiterState:
        log.warning("Replacing an unreadable state of the DingTalk rate limit in Redis: %s", self._key)
        return LimiterState(not_before=now + self._rate.window)
