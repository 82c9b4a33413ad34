"""Rate limit of calls, per app and API.

DingTalk allows 20 calls a second per app and API (standard edition). It does not document the shape of its window:
https://open.dingtalk.com/document/development/how-to-process-api-throttling-on-the-dingtalk-server
"""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from airflow_provider_dingtalk.client.clock import Clock, SystemClock
from airflow_provider_dingtalk.client.rate_limit.redis_store import RedisServer, RedisStore, RedisUrl
from airflow_provider_dingtalk.client.rate_limit.state import LimiterState, Rate
from airflow_provider_dingtalk.client.rate_limit.store import RETRY_SECONDS, SharedFolder, StateStore

#: DingTalk-imposed limit of the standard edition.
DEFAULT_CALLS_PER_SECOND = 20.0
#: Maximum number of calls in flight under a rate limit; enough for 60 calls a second at 150 ms each. A throttle
#: refuses all calls in flight, and a killed process leaves all of them in doubt.
IN_FLIGHT = 10


class RateLimiter:
    """Rate limiter of one app, with a separate limit for each API.

    :param calls_per_second: Calls a second that DingTalk allows per API; default 20. ``0`` or less disables the limit.
    :param folder: Folder in which the processes of this host share the rate limit, see
        :class:`~airflow_provider_dingtalk.client.rate_limit.state_file.StateFile`. None (default): each process has
        its own.
    :param redis: Redis server through which all hosts share the rate limit. None (default): each host has its own.
        While it is away, the folder is used.
    :param app: Name of the app in that folder and in Redis.
    """

    def __init__(
        self,
        calls_per_second: float = DEFAULT_CALLS_PER_SECOND,
        clock: Clock | None = None,
        *,
        folder: Path | None = None,
        redis: RedisUrl | None = None,
        app: str = "",
    ) -> None:
        self._clock = clock or SystemClock()
        self._rate = Rate.of(calls_per_second) if calls_per_second > 0 else None
        self._folder = SharedFolder(folder, app) if folder else None
        self._redis = RedisServer(redis, app, self._clock) if redis else None
        self._stores: dict[str, StateStore | RedisStore] = {}
        # Calls wait in the order of their arrival, and only the first one asks the store. The others would get the
        # same answer.
        self._queues: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        #: Time at which the next call of each API may begin at the earliest, as the store told the last one.
        self._next: defaultdict[str, float] = defaultdict(float)

    @property
    def in_flight(self) -> int | None:
        """Maximum number of calls in flight; None without a rate limit."""
        return None if self._rate is None else IN_FLIGHT

    @asynccontextmanager
    async def permit(self, api: str) -> AsyncIterator[None]:
        """Wait for a permit for a call to ``api``, and hold it during the call.

        It is free again one window after the end of the call.
        """
        rate = self._rate
        if rate is None:
            yield
            return
        number, store = secrets.randbits(62) | 1, self._store(api, rate)
        async with self._queues[api]:
            if (wait := self._next[api] - self._clock.monotonic()) > 0:
                await self._clock.sleep(wait)
            while wait := await self._acquire(api, store, rate, number):
                await self._clock.sleep(wait)
        try:
            yield
        finally:
            now = self._clock.monotonic()
            store.record(lambda state: state.release(rate, now, number))

    def throttled(self, api: str, seconds: float) -> None:
        """Block calls to ``api`` after a throttle, then reduce the rate.

        :param seconds: Seconds to block all calls to ``api``.
        """
        if (rate := self._rate) is not None:
            now = self._clock.monotonic()
            self._store(api, rate).record(lambda state: state.throttled(rate, now, seconds))

    async def aclose(self) -> None:
        """Write what Redis does not know yet, and close the connection to it."""
        if self._redis:
            await self._redis.aclose()

    async def _acquire(self, api: str, store: StateStore | RedisStore, rate: Rate, number: int) -> float:
        """Acquire a permit; return 0, or the seconds until the next attempt."""
        now = self._clock.monotonic()

        def acquire(state: LimiterState) -> tuple[float, float]:
            return state.acquire(rate, now, number), state.wait(rate, now)

        answer = await store.change(acquire, undo=lambda state: state.forget(number))
        if answer is None:
            return RETRY_SECONDS
        wait, next_wait = answer
        self._next[api] = now + next_wait
        return wait

    def _store(self, api: str, rate: Rate) -> StateStore | RedisStore:
        if api not in self._stores:
            store = StateStore(api, rate, self._clock, self._folder)
            self._stores[api] = RedisStore(api, rate, self._clock, self._redis, store) if self._redis else store
        return self._stores[api]
