"""Processes that are gone when we are: each in a session of its own, by which they are ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

#: Seconds to end by itself, before it is killed.
GRACE = 10.0
_PR_SET_PDEATHSIG = 1


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def tail(log: Path, lines: int = 30) -> str:
    """The end of a log file."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


class Process:
    """A process that we started, and all that it started.

    :param name: For messages.
    :param log: Where its output goes.
    """

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                command,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 -- it makes one system call, in a parent without threads
            )
        self.pid = self._popen.pid

    def raise_if_dead(self) -> None:
        """Say so if it ended.

        :raises RuntimeError: It did; the end of its log is in the message.
        """
        if self._popen.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self._popen.returncode}:\n{tail(self.log)}")

    def terminate(self) -> None:
        """Ask it, and all that it started, to end."""
        for pid in self.members():
            _signal(pid, signal.SIGTERM)

    def kill(self) -> None:
        """End what is left of it."""
        for pid in self.members():
            _signal(pid, signal.SIGKILL)
        self._popen.wait()

    def members(self) -> list[int]:
        """It, and all living processes of its session: by that we know our own."""
        return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _session(entry) == self.pid]

    def __repr__(self) -> str:
        return f"Process({self.name}, {self.pid})"


def stop_all(processes: Sequence[Process], grace: float = GRACE) -> None:
    """End processes: ask all, wait, kill what is left."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and any(process.members() for process in processes):
        for process in processes:
            process._popen.poll()  # noqa: SLF001 -- reaps it, or it would stay a member of its session
        time.sleep(0.1)
    for process in processes:
        process.kill()


def _session(entry: Path) -> int:
    """The session that a process in ``/proc`` belongs to; 0 if it is gone, or dead and not yet reaped."""
    try:
        # The name, in parentheses, may hold blanks; state, parent, group and session come after it.
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[3])


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
