"""Connection look-ups that triggers share: one per process, event loop and connection, for a minute.

Each look-up takes Airflow's supervisor 7 ms in which it does nothing else: 5,000 triggers that look up for
themselves are ready after half a minute.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from weakref import WeakKeyDictionary

from airflow_provider_dingtalk.api.clock import Clock, SystemClock
from airflow_provider_dingtalk.api.errors import DingTalkError
from airflow_provider_dingtalk.settings import Settings

log = logging.getLogger(__name__)

#: Seconds for which a connection is taken as it was, so that a rotated secret is known soon.
LIFETIME = 60.0


class _Shared:
    """One connection, as those who hold it know it."""

    def __init__(self) -> None:
        self.holders = 0
        self.settings: Settings | None = None
        self.known_at = 0.0
        self.under_way: asyncio.Task[Settings] | None = None


_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Shared]] = WeakKeyDictionary()


class SharedLookup:
    """One holder's share in the look-ups of a connection. To be released when it is needed no more.

    :param look_up: Looks the connection up; whose is called does not matter.
    """

    def __init__(
        self, conn_id: str, look_up: Callable[[], Awaitable[Settings]], clock: Clock | None = None
    ) -> None:
        self._conn_id = conn_id
        self._look_up = look_up
        self._clock = clock or SystemClock()
        self._entry: _Shared | None = None

    async def settings(self) -> Settings:
        """The connection, not older than a minute.

        :raises ConfigurationError: There is none, it cannot work, or the first look-up failed.
        """
        shared = self._hold()
        if shared.settings is not None and self._clock.monotonic() - shared.known_at < LIFETIME:
            return shared.settings
        if shared.under_way is None:
            shared.under_way = asyncio.ensure_future(self._refresh(shared))
            shared.under_way.add_done_callback(lambda task: _forget(shared, task))
        try:
            # Shielded: a trigger that is cancelled must not take the look-up of the others with it.
            return await asyncio.shield(shared.under_way)
        except DingTalkError as error:
            if error.permanent or shared.settings is None:
                raise
            log.warning("%s Going on with what was known.", error)
            return shared.settings

    def release(self) -> None:
        """Need it no more. After the last holder nothing is kept; to release twice does no harm."""
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
    # A look-up that never ended refers to its loop, and would keep it.
    for loop in [loop for loop in list(_shared) if loop.is_closed()]:
        _shared.pop(loop, None)
    return _shared.setdefault(asyncio.get_running_loop(), {})


def _forget(shared: _Shared, task: asyncio.Task[Settings]) -> None:
    shared.under_way = None
    if not task.cancelled():
        # If all who waited are gone, nobody else asks, and asyncio would complain.
        task.exception()


def held_connections() -> list[str]:
    """Ids of the connections that somebody on the running event loop holds."""
    return sorted(_entries())
