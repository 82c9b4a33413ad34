"""Processes that are gone when we are: each in a session of its own, by which they are ended."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

#: Seconds to end by itself, before it is killed.
GRACE = 4.0


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
    :param log: Where its output goes, after what stands there.
    """

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._over = False
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._popen.pid
        _tell_warden(f"+{self.pid}")

    def raise_if_dead(self) -> None:
        """Say so if it ended.

        :raises RuntimeError: It did; the end of its log is in the message.
        """
        # It is not reaped: as long as it lies there, nobody else gets its number, which names its session.
        looked = os.WEXITED | os.WNOHANG | os.WNOWAIT
        if self._over or os.waitid(os.P_PID, self.pid, looked):
            raise RuntimeError(f"{self.name} ended:\n{tail(self.log)}")

    def terminate(self) -> None:
        """Ask it, and all that it started, to end."""
        _signal_all(self.members(), signal.SIGTERM)

    def kill(self) -> None:
        """End what is left of it, at once."""
        if not self._over:
            _end_sessions({self.pid}, grace=0)
            self._popen.wait()
            self._over = True
            _tell_warden(f"-{self.pid}")

    def members(self) -> list[int]:
        """It, and all living processes of its session: by that we know our own."""
        return [] if self._over else _members({self.pid})

    def __repr__(self) -> str:
        return f"Process({self.name}, {self.pid})"


def stop_all(processes: Sequence[Process], grace: float = GRACE) -> None:
    """End processes and all that they started: ask all, wait, kill what is left.

    :param grace: Seconds between asking and killing.
    """
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and any(process.members() for process in processes):
        time.sleep(0.05)
    for process in processes:
        process.kill()


def _end_sessions(sessions: Collection[int], grace: float) -> None:
    """Ask until ``grace`` seconds are over, then kill until nobody is left: the dying still start processes."""
    deadline = time.monotonic() + grace
    if grace:
        _signal_all(_members(sessions), signal.SIGTERM)
    while members := _members(sessions):
        if time.monotonic() >= deadline:
            _signal_all(members, signal.SIGKILL)
        time.sleep(0.02)


def _members(sessions: Collection[int]) -> list[int]:
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _session(entry) in sessions]


def _session(entry: Path) -> int:
    """The session that a process in ``/proc`` belongs to; 0 if it is gone, or dead and not yet reaped."""
    try:
        # The name, in parentheses, may hold blanks; state, parent, group and session come after it.
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in {"X", "Z"} else int(fields[3])


def _signal_all(pids: Collection[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


# ── the warden: ends what we started if we are killed and cannot do it ourselves ─────────────────────────


@functools.cache
def _warden() -> subprocess.Popen[str]:
    # Its input ends when we do, however that happens; a signal to our group or terminal does not reach it.
    warden = subprocess.Popen(
        [sys.executable, "-I", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    atexit.register(warden.communicate)
    return warden


def _tell_warden(word: str) -> None:
    stdin = _warden().stdin
    if stdin is not None:
        print(word, file=stdin, flush=True)


def _watch_over_sessions() -> None:
    """Read of sessions that began (``+7``) and are over (``-7``); at the end of input end those that are left."""
    sessions: set[int] = set()
    for word in sys.stdin:
        number = int(word[1:])
        if word[0] == "+":
            sessions.add(number)
        else:
            sessions.discard(number)
    _end_sessions(sessions, GRACE)


if __name__ == "__main__":
    _watch_over_sessions()
