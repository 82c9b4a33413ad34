"""Locked file of a rate limit's state, shared by all processes of a host.

The lock is held for microseconds, and nothing here waits for it. The file is opened again for each change, so that
a fork shares no lock with its parent, and a deleted file is not used.
"""

from __future__ import annotations

import contextlib
import hashlib
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

from airflow_provider_dingtalk.client.clock import Clock
from airflow_provider_dingtalk.client.rate_limit.state import MAX_BYTES, LimiterState, Rate, decode_state
from airflow_provider_dingtalk.language import get_logger

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = get_logger(__name__)

T = TypeVar("T")

SUFFIX = ".pace"
#: Seconds without a write after which a file is deleted, because files of earlier boots remain.
MAX_AGE = 7 * 86_400


class BusyError(Exception):
    """Error for a lock that another process holds, usually for microseconds."""


class UnsharedError(OSError):
    """Error for a rate limit that cannot be shared, with the cause."""


class StateFile:
    """File with the limiter state of one app and API on this host.

    :param folder: Absolute path; created with mode 0700 if it is missing.
    :param key: App and API, by which DingTalk counts. Only a hash of it is written, as the file's name.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        name = hashlib.sha256(f"{_boot_id()}\n{key}".encode()).hexdigest()[:32]
        self._path = folder / (name + SUFFIX)
        self._is_prepared = False

    def change(self, work: Callable[[LimiterState], T], rate: Rate, clock: Clock) -> T:
        """Read the state, change it, and write it back, under the lock.

        :returns: The result of ``work``.
        :raises BusyError: If another process holds the lock.
        :raises OSError: If the file cannot be read, written or trusted.
        """
        with self._locked() as fd:
            before = os.pread(fd, MAX_BYTES + 1, 0)
            now = clock.monotonic()
            if (state := decode_state(before, rate, now)) is None:
                log.warning("Replacing an unreadable state file of the DingTalk rate limit: %s", self._path)
                # Recent calls of other processes are unknown, and one window later they no longer count.
                state = LimiterState(not_before=now + rate.window)
            done = work(state)
            _write(fd, before, msgspec.json.encode(state))
        return done

    @contextmanager
    def _locked(self) -> Iterator[int]:
        fd = self._open()
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                yield fd
            finally:
                # A process forked meanwhile shares descriptor and lock, so closing would not release the lock.
                fcntl.flock(fd, fcntl.LOCK_UN)
        except BlockingIOError:
            raise BusyError from None
        finally:
            os.close(fd)

    def _open(self) -> int:
        if not self._is_prepared:
            _prepare(self._folder)
            _delete_old_files(self._folder)
            self._is_prepared = True
        try:
            fd = _open(self._path)
        except FileNotFoundError:  # the folder was deleted
            _prepare(self._folder)
            fd = _open(self._path)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink > 1:
            os.close(fd)
            raise UnsharedError(f"{self._path} is not a regular file of this user alone")
        return fd


def _write(fd: int, before: bytes, text: bytes) -> None:
    # A process killed between the two steps leaves a file that is recognisably unreadable, but never empty.
    if text != before:
        os.pwrite(fd, text, 0)
    if len(text) < len(before):
        os.ftruncate(fd, len(text))


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)


def _prepare(folder: Path) -> None:
    """Create the folder; refuse one that others can write to, because they could block calls or place a link."""
    if fcntl is None:
        raise UnsharedError("this platform has no file locks")
    if not folder.is_absolute():
        raise UnsharedError(f"{folder} is not an absolute path")
    for path in (*reversed(folder.parents), folder):
        with contextlib.suppress(FileExistsError):
            if not path.exists():
                path.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise UnsharedError(f"{folder} is not a folder, or is a link to one")
    if found.st_uid != os.geteuid():
        raise UnsharedError(f"{folder} belongs to another user")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnsharedError(f"{folder} is writable by others")


def _delete_old_files(folder: Path) -> None:
    for path in folder.glob("*" + SUFFIX):
        with contextlib.suppress(OSError):
            if path.lstat().st_mtime < time.time() - MAX_AGE:
                path.unlink()


@cache
def _boot_id() -> str:
    """Return an id of this host's boot, because monotonic clocks of two boots or hosts cannot be compared."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return platform.node()
