"""Named points at which a try is killed, and the wrappers that detect them.

The wrappers go around what the shipped code is given: its store, transport, task instance and clock.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from enum import StrEnum
from typing import Any

import httpx

from airflow_provider_dingtalk.task.checkpoint.store import Store


class Point(StrEnum):
    """Points at which a try is killed."""

    BEFORE_INTENT = "before the intent"
    AFTER_INTENT = "after the intent"
    IN_POST = "in the POST"
    AFTER_EFFECT = "after the effect"
    AFTER_ANSWER = "after the answer"
    BEFORE_COMMIT = "before the commit"
    SEGMENT_BOUNDARY = "at a segment boundary"
    BEFORE_XCOM = "before the XCom push"
    BEFORE_SUCCESS = "before success"


class Gauge:
    """Counters of one try in memory shared with its parent and the next try."""

    NAMES = ("begun", "ended", "recall", "again", "bisect", "status", "throttled", "token", "send", "at_fence")

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8 * len(self.NAMES))
        self._numbers = memoryview(self._memory).cast("q")

    def __getitem__(self, name: str) -> int:
        return self._numbers[self.NAMES.index(name)]

    def __setitem__(self, name: str, value: int) -> None:
        self._numbers[self.NAMES.index(name)] = value

    def take(self, counts: Mapping[str, int]) -> None:
        """Copy the shipped code's own count of its calls."""
        for name in self.NAMES[2:9]:
            self[name] = counts.get(name, 0)


class Killer:
    """Switch that kills its process at a point, once enough calls have begun.

    :param point: Point of the kill; None for no kill from inside.
    :param calls: Minimum number of calls begun before; default 0.
    """

    def __init__(self, gauge: Gauge, point: Point | None = None, calls: int = 0) -> None:
        self._gauge = gauge
        self._point = point
        self._calls = calls

    def reached(self, point: Point) -> None:
        """Kill the process if this is its point and enough calls have begun."""
        if point is self._point and self._gauge["begun"] >= self._calls:
            os.kill(os.getpid(), signal.SIGKILL)


def marks_of(value: Any) -> str | None:
    """Return the state characters of a checkpoint row; None if it is not a row."""
    row = value.get("row") if isinstance(value, Mapping) else value
    return row if isinstance(row, str) else None


class WatchedStore:
    """Store that detects intents, commits and segment boundaries."""

    def __init__(self, inner: Store, killer: Killer) -> None:
        self._inner = inner
        self._killer = killer
        self._rows: dict[str, str] = {}
        self._last: str | None = None
        self._last_send = -1
        #: Number of accepted calls in each row of a send.
        self._sent: dict[str, int] = {}

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key."""
        value = self._inner.get(key, default)
        if row := marks_of(value):
            self._rows[key] = row
        if "-sent-" in key and value is not None:
            self._sent[key] = len(value["sent"])
        return value

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        row = marks_of(value)
        before = self._rows.get(key, "")
        intends = row is not None and _differ(before, row, lambda was, now: now == "I")
        commits = row is not None and _differ(before, row, lambda was, now: was == "I")
        if "-sent-" in key:
            last = max((one["n"] for one in value["in_flight"]), default=-1)
            intends, commits = last > self._last_send, len(value["sent"]) > self._sent.get(key, 0)
            self._last_send, self._sent[key] = max(last, self._last_send), len(value["sent"])
        if (row is not None or "-sent-" in key) and self._last not in (None, key):
            self._killer.reached(Point.SEGMENT_BOUNDARY)
        if intends:
            self._killer.reached(Point.BEFORE_INTENT)
        if commits:
            self._killer.reached(Point.BEFORE_COMMIT)
        self._inner.set(key, value)
        if row is not None:
            self._rows[key] = row
        if row is not None or "-sent-" in key:
            self._last = key
        if intends:
            self._killer.reached(Point.AFTER_INTENT)


def _differ(before: str, after: str, wanted: Callable[[str, str], bool]) -> bool:
    return any(was != now and wanted(was, now) for was, now in zip(before.ljust(len(after), "P"), after, strict=True))


class ForgetfulStore:
    """Store that loses intents, to prove that the harness catches it."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key."""
        return self._inner.get(key, default)

    def set(self, key: str, value: Any) -> None:
        """Store a value without its intents."""
        row = marks_of(value)
        if row is not None:
            forgotten = row.replace("I", "P")
            value = {**value, "row": forgotten} if isinstance(value, Mapping) else forgotten
        if "-sent-" in key:
            value = {**value, "in_flight": []}
        self._inner.set(key, value)


class WatchedTransport(httpx.AsyncBaseTransport):
    """Transport that detects requests, effects and answers.

    :param bill: Function that returns the shipped code's own count of its calls, by reason.
    """

    def __init__(
        self, inner: httpx.AsyncBaseTransport, killer: Killer, gauge: Gauge, bill: Callable[[], Mapping[str, int]]
    ) -> None:
        self._inner = inner
        self._killer = killer
        self._gauge = gauge
        self._bill = bill

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Forward a request."""
        self._gauge.take(self._bill())
        if not _acts(request):
            return await self._inner.handle_async_request(request)
        self._gauge["begun"] += 1
        # The request is written without yielding, so it is sent by the next iteration of the event loop.
        asyncio.get_running_loop().call_soon(self._killer.reached, Point.IN_POST)
        try:
            response = await self._inner.handle_async_request(request)
        except BaseException:
            self._gauge["ended"] += 1
            raise
        self._killer.reached(Point.AFTER_EFFECT)
        response.stream = _Watched(response.stream, self._answered)
        return response

    def _answered(self) -> None:
        self._gauge["ended"] += 1
        self._killer.reached(Point.AFTER_ANSWER)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


def _acts(request: httpx.Request) -> bool:
    """Return True if the request recalls or sends."""
    path = request.url.path.lower()
    return request.method == "POST" and ("recall" in path or "send" in path)


class _Watched(httpx.AsyncByteStream):
    """Body that reports when it was read to its end."""

    def __init__(self, inner: Any, whole: Callable[[], None]) -> None:
        self._inner = inner
        self._whole = whole

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            yield chunk
        # The reader asks for more only after it has processed the last chunk.
        self._whole()

    async def aclose(self) -> None:
        await self._inner.aclose()


class WatchedTask:
    """Part of a task instance that the shipped code uses.

    :param push: Function that stores an XCom.
    :param clear_count: Clear count of the task.
    :param pull: Function that returns an XCom; default None for all.
    """

    dag_id, run_id, task_id, map_index = "dag", "run", "send", -1

    def __init__(
        self,
        push: Callable[[str, Any], None],
        killer: Killer,
        number: int,
        clear_count: int,
        pull: Callable[[str], Any] = lambda _: None,
    ) -> None:
        self._push = push
        self._pull = pull
        self._killer = killer
        self.try_number = number
        self.max_tries = clear_count

    def push_by(self, wrap: Callable[[Callable[[str, Any], None]], Callable[[str, Any], None]]) -> None:
        """Wrap the function that stores XComs."""
        self._push = wrap(self._push)

    def xcom_push(self, key: str, value: Any) -> None:
        """Store an XCom."""
        self._killer.reached(Point.BEFORE_XCOM)
        self._push(key, value)

    def xcom_pull(self, *, task_ids: list[str], key: str) -> list[Any]:
        """Return an XCom of this task."""
        return [self._pull(key)]


class HastyClock:
    """Clock of the machine whose sleeps take almost no time."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        """Return the seconds since the epoch, UTC."""
        return time.time() + self._ahead

    def monotonic(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic() + self._ahead

    async def sleep(self, seconds: float) -> None:
        """Advance the clock almost without waiting."""
        wake_at = self.monotonic() + seconds
        await asyncio.sleep(0.001)
        self._ahead += max(0.0, wake_at - self.monotonic())
