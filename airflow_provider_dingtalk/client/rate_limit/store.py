"""Store of a limiter's state: in a file that all processes of a host share, or in the memory of one process.

If sharing fails, the process logs one warning and continues with its own rate limit. Throttles then slow down the
processes that together call too often.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from airflow_provider_dingtalk.client.clock import Clock
from airflow_provider_dingtalk.client.rate_limit.state import LimiterState, Rate
from airflow_provider_dingtalk.client.rate_limit.state_file import BusyError, StateFile, UnsharedError
from airflow_provider_dingtalk.language import get_logger

log = get_logger(__name__)

T = TypeVar("T")

#: Seconds until a change that found the file locked is tried again.
RETRY_SECONDS = 0.002
#: Seconds of a busy lock after which its holder is assumed to have stopped.
STUCK_SECONDS = 5.0


class SharedFolder:
    """Folder in which all processes of a host share the limits of one app.

    :param path: Absolute path; only this user may write to it.
    :param app: Name of the app.
    """

    def __init__(self, path: Path, app: str) -> None:
        self._path = path
        self._app = app
        #: True once sharing failed for one API; then none is shared.
        self.is_broken = False

    def file(self, api: str) -> StateFile:
        """Return the file of an API."""
        return StateFile(self._path, f"{self._app}\n{api}")

    def give_up(self, error: OSError) -> None:
        """Stop sharing, and log one warning."""
        if not self.is_broken:
            self.is_broken = True
            why = error if isinstance(error, UnsharedError) else f"{self._path}: {error.strerror}"
            log.warning(
                "The rate limit of DingTalk calls is kept by this process alone (%s). Other processes of this host "
                "that call as the same app may get throttled. Check pace_dir in airflow.cfg, section [dingtalk].",
                why,
            )


class StateStore:
    """Store of one limiter's state.

    :param folder: Folder in which the state is shared; None keeps it in memory.
    """

    def __init__(self, api: str, rate: Rate, clock: Clock, folder: SharedFolder | None) -> None:
        self._rate = rate
        self._clock = clock
        self._folder = folder
        self._file = folder.file(api) if folder else None
        self._state = LimiterState()
        #: Changes that found the file locked. They come before all others.
        self._pending: list[Callable[[LimiterState], None]] = []
        self._busy_since: float | None = None

    async def change(self, work: Callable[[LimiterState], T], undo: object = None) -> T | None:
        """Change the state and return the result of ``work``; None if the file is locked.

        :param undo: Not needed, because no cancellation comes between change and result.
        """
        return self.change_now(work)

    def change_now(self, work: Callable[[LimiterState], T]) -> T | None:
        """Change the state and return the result of ``work``; None if the file is locked."""
        if self._folder is None or self._file is None or self._folder.is_broken:
            return self._apply(self._state, work)
        try:
            return self._file.change(lambda state: self._apply(state, work), self._rate, self._clock)
        except BusyError:
            self._give_up_if_stuck(self._folder)
            return None
        except OSError as error:
            self._folder.give_up(error)
            return self._apply(self._state, work)

    def record(self, work: Callable[[LimiterState], None]) -> None:
        """Change the state now or, if the file is locked, before any later change."""
        self._pending.append(work)
        self._write_pending()

    def _write_pending(self) -> None:
        if self._pending and self.change_now(lambda _: True) is None:
            # The task that releases a permit may be cancelled and cannot wait, so a timer tries again. If the
            # process ends before, the lease of the permit ends.
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._write_pending)

    def _apply(self, state: LimiterState, work: Callable[[LimiterState], T]) -> T:
        # If sharing fails later, this process continues with the last known state.
        self._state, self._busy_since = state, None
        for pending in self._pending:
            pending(state)
        self._pending.clear()
        return work(state)

    def _give_up_if_stuck(self, folder: SharedFolder) -> None:
        now = self._clock.monotonic()
        if self._busy_since is None:
            self._busy_since = now
        elif now - self._busy_since > STUCK_SECONDS:
            folder.give_up(UnsharedError("the lock is not released"))
