"""Where the calls of a pace are written down: by one process alone, or by all processes of a host in a file.

What cannot be shared is kept alone from then on, and that is said once: calls are then paced as well as one
process can, and throttle answers slow down those who call too often together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from airflow_provider_dingtalk.api.clock import Clock
from airflow_provider_dingtalk.api.pace_book import Book, Rate
from airflow_provider_dingtalk.api.pace_file import BusyError, PaceFile, UnsharedError

log = logging.getLogger(__name__)

#: Seconds after which a note that found the register busy is tried again.
FILE_AGAIN = 0.002
#: Seconds that a note waits at most for a question that takes it along. Whoever else wants the slot may wait so
#: much too long.
LATEST = 0.05
#: Seconds of being busy after which somebody must have stopped with the lock in hand.
STUCK = 5.0

Note = Callable[[Book], None]


class Register(Protocol):
    """A book, and how to get at it."""

    def ask(self, question: Callable[[Book], float]) -> float | None:
        """Look into the book and change it; ``None``: it is busy, ask again soon."""

    def note(self, note: Note, *, at_once: bool = True) -> None:
        """Change the book: soon, or sooner than that. Whoever asks here sees it changed."""


class Alone:
    """The register of one process.

    :param book: To go on with.
    """

    def __init__(self, book: Book | None = None) -> None:
        self._book = book or Book()

    def ask(self, question: Callable[[Book], float]) -> float:
        """Look into the book and change it."""
        return question(self._book)

    def note(self, note: Note, *, at_once: bool = True) -> None:
        """Change the book."""
        note(self._book)


class Shared:
    """The registers of one app that all processes of a host share.

    :param folder: Theirs alone.
    :param app: Names the app.
    """

    def __init__(self, folder: Path, app: str, clock: Clock) -> None:
        self._folder = folder
        self._app = app
        self._clock = clock
        self._is_broken = False

    def register(self, api: str, rate: Rate) -> Register:
        """The register of an API."""
        return _SharedRegister(self, PaceFile(self._folder, f"{self._app}\n{api}"), self._clock, rate)

    @property
    def is_broken(self) -> bool:
        """Whether sharing failed: once for one API, and nobody tries again for another."""
        return self._is_broken

    def give_up(self, error: OSError) -> None:
        """Share no more, and say so once."""
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
        #: Changes that found the file busy. They come before all others.
        self._owed: list[Note] = []
        self._is_due = False
        self._busy_since: float | None = None
        self._last = Book()
        self._alone: Alone | None = None

    def ask(self, question: Callable[[Book], float]) -> float | None:
        """Look into the book and change it; ``None``: it is busy, ask again soon."""
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
        """Change the book, now or soon."""
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
            # Not by waiting here: who ends a call may be cancelled, and cannot wait. If the process ends
            # before, leases end too.
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
        """From now on alone, with what was last known of the others."""
        if self._alone is None:
            self._alone = Alone(self._last)
        for note in self._owed:
            self._alone.note(note)
        self._owed.clear()
        return self._alone

    def _fits(self, book: Book) -> bool:
        return book.fits(self._rate, self._clock.monotonic())

    def _anew(self) -> Book:
        # Nobody knows what was called just now: one window later it no longer matters.
        return Book(not_before=self._clock.monotonic() + self._rate.window)
