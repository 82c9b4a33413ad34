"""Rate limit of calls, per app and API.

DingTalk allows 20 calls a second per app and API (standard edition). It does not document the shape of its window:
https://open.dingtalk.com/document/development/how-to-process-api-throttling-on-the-dingtalk-server
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path

from airflow_provider_dingtalk.client.clock import Clock, SystemClock
from airflow_provider_dingtalk.client.rate_limit.state import Book, Rate
from airflow_provider_dingtalk.client.rate_limit.store import Alone, Register, Shared

#: DingTalk-imposed limit of the standard edition.
DEFAULT_CALLS_PER_SECOND = 20.0
#: Maximum number of calls in flight under a rate limit; enough for 60 calls a second at 150 ms each. A throttle
#: refuses all calls in flight, and a killed process leaves all of them in doubt.
IN_FLIGHT = 10
#: Seconds until a busy register is tried again.
ASK_AGAIN = 0.002


class Pace:
    """Rate limiter of one API. A permit is free again one window after its call *ended*.

    DingTalk counts a call between its request and its answer. Measured from the answer, the rate limit holds for
    any shape of DingTalk's window.

    :param register: Store of the calls, for this process alone or for all processes of the host.
    """

    def __init__(self, rate: Rate, clock: Clock, register: Register) -> None:
        self._rate = rate
        self._clock = clock
        self._register = register
        # Calls wait in the order of their arrival, and only the first one asks the register. The others would get
        # the same answer.
        self._queue = asyncio.Lock()
        self._under_way = 0
        #: Earliest time of the next permit, as of the last register access.
        self._free_at = float("-inf")

    def hold(self, seconds: float) -> None:
        """Block calls after a throttle, then reduce the rate.

        :param seconds: Seconds to block all calls.
        """
        now = self._clock.monotonic()
        self._register.note(lambda book: book.throttled(self._rate, now, seconds))

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a permit and hold it during a call."""
        number = secrets.randbits(62) | 1
        async with self._queue:
            while not self._begins(number):
                await self._clock.sleep(self._free_at - self._clock.monotonic())
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            now = self._clock.monotonic()
            # While other calls are in flight, the note may wait for the next call, which opens the file anyway.
            self._register.note(lambda book: book.end(self._rate, now, number), at_once=not self._under_way)

    def _begins(self, number: int) -> bool:
        """Begin the call, or set ``_free_at`` to its next chance.

        Asking the register opens a file, so it is not asked before ``_free_at``.

        :returns: True if the call began.
        """
        if self._free_at > self._clock.monotonic():
            return False
        wait = self._register.ask(lambda book: self._begin(book, number))
        if wait is None:
            self._free_at = self._clock.monotonic() + ASK_AGAIN
        return wait == 0

    def _begin(self, book: Book, number: int) -> float:
        now = self._clock.monotonic()
        wait = book.begin(self._rate, now, number)
        self._free_at = now + (wait or book.wait(self._rate, now))
        return wait


class Limiter:
    """Rate limiter of one app, with a separate limit for each API.

    :param calls_per_second: Calls a second that DingTalk allows per API; default 20. ``0`` or less disables the
        limit.
    :param folder: Folder in which the processes of this host share the rate limit, see
        :class:`~airflow_provider_dingtalk.client.rate_limit.state_file.PaceFile`. None (default): each process has
        its own.
    :param app: Name of the app in that folder.
    """

    def __init__(
        self,
        calls_per_second: float = DEFAULT_CALLS_PER_SECOND,
        clock: Clock | None = None,
        *,
        folder: Path | None = None,
        app: str = "",
    ) -> None:
        self._clock = clock or SystemClock()
        self._rate = Rate.of(calls_per_second) if calls_per_second > 0 else None
        self._shared = Shared(folder, app, self._clock) if folder else None
        self._paces: dict[str, Pace] = {}

    @property
    def in_flight(self) -> int | None:
        """Maximum number of calls in flight; None without a rate limit."""
        return None if self._rate is None else IN_FLIGHT

    def slot(self, api: str) -> AbstractAsyncContextManager[None]:
        """Return a context that holds a permit for a call to ``api``.

        It waits for the permit at its start. The call counts until one window after its end.
        """
        pace = self._pace(api)
        return pace.slot() if pace else nullcontext()

    def hold(self, api: str, seconds: float) -> None:
        """Block calls to ``api`` after a throttle, then reduce the rate.

        :param seconds: Seconds to block all calls to ``api``.
        """
        if pace := self._pace(api):
            pace.hold(seconds)

    def _pace(self, api: str) -> Pace | None:
        if self._rate is None:
            return None
        if api not in self._paces:
            register = self._shared.register(api, self._rate) if self._shared else Alone()
            self._paces[api] = Pace(self._rate, self._clock, register)
        return self._paces[api]
