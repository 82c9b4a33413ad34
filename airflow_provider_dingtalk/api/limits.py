"""Pace: at most so many calls a second, per app and API.

DingTalk counts 20 calls a second per app and API (standard edition), in windows whose shape it does not tell:
https://open.dingtalk.com/document/development/how-to-process-api-throttling-on-the-dingtalk-server
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path

from airflow_provider_dingtalk.api.clock import Clock, SystemClock
from airflow_provider_dingtalk.api.pace_book import Book, Rate
from airflow_provider_dingtalk.api.shared_pace import Alone, Register, Shared

#: DingTalk-imposed limit of the standard edition.
DEFAULT_CALLS_PER_SECOND = 20.0
#: Calls under way at once where there is a limit: enough for 60 a second at 150 ms each. When DingTalk says "too
#: many", all that are under way are refused, and when a process is killed, all of them are in doubt.
IN_FLIGHT = 10
#: Seconds after which a register that was busy is asked again.
ASK_AGAIN = 0.002


class Pace:
    """Slots for the calls to one API. A slot is free again one window after its call *ended*.

    Anchored at the answer, the pace holds whatever the shape of DingTalk's window: it counted the call
    somewhere between our sending it and its answering.

    :param register: Where the calls are written down: for this process alone, or for all of the host.
    """

    def __init__(self, rate: Rate, clock: Clock, register: Register) -> None:
        self._rate = rate
        self._clock = clock
        self._register = register
        # One asks for all, in the order of their coming. The others would only ask the same.
        self._queue = asyncio.Lock()
        self._under_way = 0
        #: No slot is free before, as the register was last.
        self._free_at = float("-inf")

    def hold(self, seconds: float) -> None:
        """Let no call begin for so many seconds, and fewer for a while: DingTalk just said there were too many."""
        now = self._clock.monotonic()
        self._register.note(lambda book: book.throttled(self._rate, now, seconds))

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it for the length of a call."""
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
            # While others are under way it may wait for the next beginning, which takes a file anyway.
            self._register.note(lambda book: book.end(self._rate, now, number), at_once=not self._under_way)

    def _begins(self, number: int) -> bool:
        """Whether the call begins now; else it may at ``_free_at``. Asking takes a file: not before that."""
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
    """A pace for each API of one app.

    :param calls_per_second: Calls DingTalk allows per API; ``0`` or less: no limit.
    :param folder: Where the processes of this host share their pace, see
        :class:`~airflow_provider_dingtalk.api.pace_file.PaceFile`. Without it each keeps its own.
    :param app: Names the app there.
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
        """Calls that should be under way at once at most. None: there is no limit that asks for it."""
        return None if self._rate is None else IN_FLIGHT

    def slot(self, api: str) -> AbstractAsyncContextManager[None]:
        """Wait until a call to ``api`` may begin, and count it until one window after it ended."""
        pace = self._pace(api)
        return pace.slot() if pace else nullcontext()

    def hold(self, api: str, seconds: float) -> None:
        """Let no call to ``api`` begin for so many seconds, and fewer for a while: one was just throttled."""
        if pace := self._pace(api):
            pace.hold(seconds)

    def _pace(self, api: str) -> Pace | None:
        if self._rate is None:
            return None
        if api not in self._paces:
            register = self._shared.register(api, self._rate) if self._shared else Alone()
            self._paces[api] = Pace(self._rate, self._clock, register)
        return self._paces[api]
