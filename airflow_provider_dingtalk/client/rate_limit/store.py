"""Stores of a rate limit's state.

The state is in the memory of one process, or in a file that all processes of a host share.

If sharing fails, the process logs one warning and continues with its own rate limit. Throttles then slow down the
processes that together call too often.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from airflow_provider_dingtalk.client.clock import Clock
from airflow_provider_dingtalk.client.rate_limit.state import Book, Rate
from airflow_provider_dingtalk.client.rate_limit.state_file import BusyError, PaceFile, UnsharedError

log = logging.getLogger(__name__)

#: Seconds until a note that found the register busy is tried again.
FILE_AGAIN = 0.002
#: Maximum seconds for which a note waits for a question that writes it too. Another process may wait that much
#: longer for the permit.
LATEST = 0.05
#: Seconds of a busy lock after which its holder is assumed to have stopped.
STUCK = 5.0

Note = Callable[[Book], None]


class Register(Protocol):
    """Interface of a store that holds a book."""

    def ask(self, question: Callable[[Book], float]) -> float | None:
        """Read and change the book; return None if it is busy."""

    def note(self, note: Note, *, at_once: bool = True) -> None:
        """Change the book now or soon.

        Every later question to this register sees the change.

        :param at_once: Change it now if it is not busy; default True. False allows a delay of 0.05 seconds.
        """


class Alone:
    """Register in the memory of one process.

    :param book: State to continue with; default an empty book.
    """

    def __init__(self, book: Book | None = None) -> None:
        self._book = book or Book()

    def ask(self, question: Callable[[Book], float]) -> float:
        """Read and change the book."""
        return question(self._book)

    def note(self, note: Note, *, at_once: bool = True) -> None:
        """Change the book."""
        note(self._book)


class Shared:
    """Factory of one app's registers, shared by a host's processes.

    :param folder: Folder of the files; only this user may write to it.
    :param app: Name of the app.
    """

    def __init__(self, folder: Path, app: str, clock: Clock) -> None:
        self._folder = folder
        self._app = app
        self._clock = clock
        self._is_broken = False

    def register(self, api: str, rate: Rate) -> Register:
        """Return a register of an API."""
        return _SharedRegister(self, PaceFile(self._folder, f"{self._app}\n{api}"), self._clock, rate)

    @property
    def is_broken(self) -> bool:
        """Failure of sharing; once it fails for one API, none is shared."""
        return self._is_broken

    def give_up(self, error: OSError) -> None:
        """Stop sharing, and log one warning."""
        if not self._is_broken:
            self._is_broken = True
            why = error if isinstance(error, UnsharedError) else f"{self._folder}: {error.strerror}"
            log.warning(
                "The pace of DingTalk calls is kept by this process alone (%s). Other processes of this host that "
                "call as the same app may get throttled. See pace_dir in airflow.cfg, section [dingtalk].",
                why,
            )


class _SharedRegister:
    def __init__(self, shared: Shared, file: PaceFile, clock: Clock, rate: Rate) -> None:
        self._shared = shared
        self._file = file
        self._clock = clock
        self._rate = rate
        #: Changes that are not yet written. They come before all others.
        self._owed: list[Note] = []
        self._is_due = False
        self._busy_since: float | None = None
        self._last = Book()
        self._alone: Alone | None = None

    def ask(self, question: Callable[[Book], float]) -> float | None:
        """Read and change the book; return None if it is busy."""
        if self._shared.is_broken:
            return self._by_itself().ask(question)
        try:
            wait = self._file.change(lambda book: self._work(book, question), fits=self._fits, anew=self._anew)
        except BusyError:
            self._still_busy()
            return None
        except OSError as error:
            self._shared.give_up(error)
            return self._by_itself().ask(question)
        self._owed.clear()
        self._busy_since = None
        return wait

    def note(self, note: Note, *, at_once: bool = True) -> None:
        """Change the book now or soon."""
        self._owed.append(note)
        if at_once:
            self._settle()
        elif not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(LATEST, self._due)

    def _due(self) -> None:
        self._is_due = False
        self._settle()

    def _settle(self) -> None:
        if self._owed and self.ask(lambda _: 0.0) is None:
            # The task that ends a call may be cancelled and cannot wait, so a timer tries again. If the process
            # ends before, the lease ends the call.
            asyncio.get_running_loop().call_later(FILE_AGAIN, self._settle)

    def _work(self, book: Book, question: Callable[[Book], float]) -> float:
        for note in self._owed:
            note(book)
        self._last = book
        return question(book)

    def _still_busy(self) -> None:
        now = self._clock.monotonic()
        if self._busy_since is None:
            self._busy_since = now
        elif now - self._busy_since > STUCK:
            self._shared.give_up(UnsharedError("the lock is not given back"))

    def _by_itself(self) -> Alone:
        """Return a register of this process alone, with the last known state."""
        if self._alone is None:
            self._alone = Alone(self._last)
        for note in self._owed:
            self._alone.note(note)
        self._owed.clear()
        return self._alone

    def _fits(self, book: Book) -> bool:
        return book.fits(self._rate, self._clock.monotonic())

    def _anew(self) -> Book:
        # Recent calls of other processes are unknown, and one window later they no longer count.
        return Book(not_before=self._clock.monotonic() + self._rate.window)
