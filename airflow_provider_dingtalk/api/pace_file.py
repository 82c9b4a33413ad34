"""A book of calls in a file that all processes of a host share, under a lock that is held for microseconds.

The folder must be ours alone: who can write to it could hold up our calls, or have us write through a link.
Nothing here waits. The file is opened anew for each change, so that a fork shares no lock with its parent, and
nobody goes on with a file that was deleted meanwhile.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

import msgspec

from airflow_provider_dingtalk.api.pace_book import Book

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

T = TypeVar("T")

SUFFIX = ".pace"
#: Bytes that a book has at most.
MAX_BYTES = 1_000_000
#: Seconds after which a file that nobody wrote to is deleted: those of earlier boots stay behind.
FORGOTTEN = 7 * 86_400

_decoder = msgspec.json.Decoder(Book)


class BusyError(Exception):
    """Another process has the lock just now; it gives it back within microseconds."""


class UnsharedError(OSError):
    """The pace cannot be shared; the text says why."""


class PaceFile:
    """The book of one app and API on this host.

    :param folder: Absolute path; made with mode 0700 if it is missing.
    :param key: What DingTalk counts by. Only its hash is written.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        name = hashlib.sha256(f"{boot_id()}\n{key}".encode()).hexdigest()[:32]
        self._path = folder / (name + SUFFIX)
        self._is_prepared = False
        self._has_warned = False

    def change(self, work: Callable[[Book], T], *, fits: Callable[[Book], bool], anew: Callable[[], Book]) -> T:
        """Read the book, change it, and write it back, alone.

        :param fits: Whether a book can be of this clock.
        :param anew: Makes the book that takes the place of one that is unreadable or does not fit.
        :raises BusyError: Somebody else does so just now.
        :raises OSError: It cannot be read, written or trusted.
        """
        with self._locked() as fd:
            before = _read(fd)
            book = _book(before)
            if book is None or not fits(book):
                self._warn()
                book = anew()
            done = work(book)
            _write(fd, before, msgspec.json.encode(book))
        return done

    def _warn(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            log.warning("The file of a DingTalk pace cannot be understood and is begun anew: %s", self._path)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        fd = self._open()
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BusyError from None
            try:
                yield fd
            finally:
                # Not by closing alone: a process forked just now has this descriptor too, and with it the lock.
                fcntl.flock(fd, fcntl.LOCK_UN)
        finally:
            os.close(fd)

    def _open(self) -> int:
        if not self._is_prepared:
            prepare(self._folder)
            _sweep(self._folder)
            self._is_prepared = True
        try:
            fd = _open(self._path)
        except FileNotFoundError:  # the folder was deleted meanwhile
            prepare(self._folder)
            fd = _open(self._path)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink > 1:
            os.close(fd)
            raise UnsharedError(f"{self._path} is no file of ours alone")
        return fd


def _book(text: bytes) -> Book | None:
    """What is written; None: it is none."""
    if not text:
        return Book()
    try:
        return _decoder.decode(text) if len(text) <= MAX_BYTES else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def prepare(folder: Path) -> None:
    """Make a folder that nobody else can write to.

    :raises OSError: It cannot be made, or what is there is not ours alone.
    """
    if fcntl is None:
        raise UnsharedError("this platform has no locks on files")
    if not folder.is_absolute():
        raise UnsharedError(f"{folder} is no absolute path")
    for path in (*reversed(folder.parents), folder):
        with contextlib.suppress(FileExistsError):
            if not path.exists():
                path.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise UnsharedError(f"{folder} is no folder, or a link to one")
    if found.st_uid != os.geteuid():
        raise UnsharedError(f"{folder} belongs to somebody else")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnsharedError(f"{folder} can be written to by others")


@cache
def boot_id() -> str:
    """Names the time since this host was started: monotonic clocks of two boots, or hosts, are not one clock."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return platform.node()


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)


def _read(fd: int) -> bytes:
    return os.pread(fd, MAX_BYTES + 1, 0)


def _write(fd: int, before: bytes, text: bytes) -> None:
    # In this order: killed in between, the file is unreadable and is known to be, but never empty.
    if text != before:
        os.pwrite(fd, text, 0)
    if len(text) < len(before):
        os.ftruncate(fd, len(text))


def _sweep(folder: Path) -> None:
    """Delete what earlier boots left behind."""
    forgotten = time.time() - FORGOTTEN
    for path in folder.glob("*" + SUFFIX):
        with contextlib.suppress(OSError):
            if path.lstat().st_mtime < forgotten:
                path.unlink()
