"""Cache of connections, shared by the triggers of an event loop.

Each connection is looked up once a minute at most.

A look-up takes 7 ms of Airflow's supervisor, which serves one request at a time. Separate look-ups of 5,000
triggers would take half a minute.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from weakref import WeakKeyDictionary

from airflow_provider_dingtalk.client.clock import Clock, SystemClock
from airflow_provider_dingtalk.connection.settings import Settings
from airflow_provider_dingtalk.exceptions import DingTalkError

log = logging.getLogger(__name__)

#: Lifetime of a cached connection in seconds; short, because a rotated secret must be noticed.
LIFETIME = 60.0


class _Shared:
    """Cache entry of one connection."""

    def __init__(self) -> None:
        self.holders = 0
        self.settings: Settings | None = None
        self.known_at = 0.0
        self.under_way: asyncio.Task[Settings] | None = None


_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Shared]] = WeakKeyDictionary()


class SharedConnection:
    """Handle to a cached connection; its holder releases it after use.

    :param look_up: Looks the connection up. Any holder's function may be called for all of them.
    :param clock: Source of time; default the system's.
    """

    def __init__(self, conn_id: str, look_up: Callable[[], Awaitable[Settings]], clock: Clock | None = None) -> None:
        self._conn_id = conn_id
        self._look_up = look_up
        self._clock = clock or SystemClock()
        self._entry: _Shared | None = None

    async def settings(self) -> Settings:
        """Return the connection's settings, looked up again after 60 seconds.

        If that fails with a temporary error, the earlier settings are returned and a warning is logged.

        :raises ConfigurationError: If the connection is missing or invalid, or the first look-up failed.
        """
        shared = self._hold()
        if shared.settings is not None and self._clock.monotonic() - shared.known_at < LIFETIME:
            return shared.settings
        if shared.under_way is None:
            shared.under_way = asyncio.ensure_future(self._refresh(shared))
            shared.under_way.add_done_callback(lambda task: _forget(shared, task))
        try:
            # Shielded, because a cancelled trigger must not cancel the look-up of the others.
            return await asyncio.shield(shared.under_way)
        except DingTalkError as error:
            if error.permanent or shared.settings is None:
                raise
            log.warning("%s Going on with what was known.", error)
            return shared.settings

    def release(self) -> None:
        """Release the handle; the last release drops the cache entry.

        A second release has no effect.
        """
        if self._entry is None:
            return
        self._entry.holders -= 1
        entries = _entries()
        if self._entry.holders == 0 and entries.get(self._conn_id) is self._entry:
            del entries[self._conn_id]
        self._entry = None

    def _hold(self) -> _Shared:
        if self._entry is None:
            self._entry = _entries().setdefault(self._conn_id, _Shared())
            self._entry.holders += 1
        return self._entry

    async def _refresh(self, shared: _Shared) -> Settings:
        settings = await self._look_up()
        shared.settings, shared.known_at = settings, self._clock.monotonic()
        return settings


def _entries() -> dict[str, _Shared]:
    # An unfinished look-up refers to its loop and would keep it alive, so entries of closed loops are dropped.
    for loop in [loop for loop in list(_shared) if loop.is_closed()]:
        _shared.pop(loop, None)
    return _shared.setdefault(asyncio.get_running_loop(), {})


def _forget(shared: _Shared, task: asyncio.Task[Settings]) -> None:
    shared.under_way = None
    if not task.cancelled():
        # If all waiting callers were cancelled, asyncio would log the error as never retrieved, so read it.
        task.exception()


def held_connections() -> list[str]:
    """Return the ids of connections held on the running event loop."""
    return sorted(_entries())
