"""Cache of connections, shared by the triggers of an event loop.

A look-up takes 7 ms of Airflow's supervisor, which serves one request at a time: half a minute for 5,000 triggers.
So each connection is looked up once a minute at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from weakref import WeakKeyDictionary

from airflow_provider_dingtalk.client.clock import Clock, SystemClock
from airflow_provider_dingtalk.connection.settings import Settings
from airflow_provider_dingtalk.exceptions import DingTalkError
from airflow_provider_dingtalk.language import get_logger

log = get_logger(__name__)

#: Lifetime of a cached connection in seconds; short, because a rotated secret must be noticed.
LIFETIME = 60.0


class _Entry:
    """Cache entry of one connection."""

    def __init__(self) -> None:
        self.holders = 0
        self.settings: Settings | None = None
        self.known_at = 0.0
        self.refresh: asyncio.Task[Settings] | None = None

    def end_refresh(self, task: asyncio.Task[Settings]) -> None:
        """Forget a look-up that has ended."""
        self.refresh = None
        if not task.cancelled():
            # If all waiting callers were cancelled, asyncio would log the error as never retrieved, so read it.
            task.exception()


_entries_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Entry]] = WeakKeyDictionary()


def _entries() -> dict[str, _Entry]:
    # An unfinished look-up refers to its loop and would keep it alive, so entries of closed loops are dropped.
    for loop in [loop for loop in list(_entries_by_loop) if loop.is_closed()]:
        _entries_by_loop.pop(loop, None)
    return _entries_by_loop.setdefault(asyncio.get_running_loop(), {})


class SharedConnection:
    """Handle to a cached connection; its holder releases it after use.

    :param look_up: Looks the connection up. Any holder's function may be called for all of them.
    :param clock: Source of time; default the system's.
    """

    def __init__(self, conn_id: str, look_up: Callable[[], Awaitable[Settings]], clock: Clock | None = None) -> None:
        self._conn_id = conn_id
        self._look_up = look_up
        self._clock = clock or SystemClock()
        self._entry: _Entry | None = None

    async def settings(self) -> Settings:
        """Return the connection's settings, looked up again after 60 seconds.

        If that fails with a temporary error, the earlier settings are returned and a warning is logged.

        :raises ConfigurationError: If the connection is missing or invalid, or the first look-up failed.
        """
        if self._entry is None:
            self._entry = _entries().setdefault(self._conn_id, _Entry())
            self._entry.holders += 1
        entry = self._entry
        if entry.settings is not None and self._clock.monotonic() - entry.known_at < LIFETIME:
            return entry.settings
        if entry.refresh is None:
            entry.refresh = asyncio.ensure_future(self._refresh(entry))
            entry.refresh.add_done_callback(entry.end_refresh)
        try:
            # Shielded, because a cancelled trigger must not cancel the look-up of the others.
            return await asyncio.shield(entry.refresh)
        except DingTalkError as error:
            if error.permanent or entry.settings is None:
                raise
            log.warning("%s Going on with the earlier settings.", error)
            return entry.settings

    def release(self) -> None:
        """Release the handle, once or more often; the last holder's release drops the cache entry."""
        entry, self._entry = self._entry, None
        if entry is not None:
            entry.holders -= 1
            if entry.holders == 0 and _entries().get(self._conn_id) is entry:
                del _entries()[self._conn_id]

    async def _refresh(self, entry: _Entry) -> Settings:
        entry.settings, entry.known_at = await self._look_up(), self._clock.monotonic()
        return entry.settings
