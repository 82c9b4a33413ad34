"""Child processes that end with this process.

Each has its own session, by which all processes that it starts are found.
"""

from __future__ import annotations

import atexit
import functools
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import SystemRandom

import psutil

#: Seconds between SIGTERM and SIGKILL.
GRACE = 4.0
#: Ports below the range that Linux uses for outgoing connections.
PORTS = range(20_000, 32_000)
#: Ports that this process was given.
_given: set[int] = set()


def free_port(preferred: int = 0) -> int:
    """Return a free loopback port, and never the same one twice.

    :param preferred: Port to return if it is free; default 0 for any.
    """
    # The kernel gives ports of its own range to outgoing connections, and one of them could take the port before the
    # server binds it, so these are chosen below that range. A server may bind its port long after the next is chosen.
    for port in (*filter(None, [preferred]), *SystemRandom().sample(PORTS, 100)):
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
    raise RuntimeError(f"none of 100 ports from {PORTS.start} to {PORTS.stop - 1} is free")


def tail(log: Path, lines: int = 30) -> str:
    """Return the last lines of a log file; default 30."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


class Process:
    """Child process, together with all processes that it starts.

    :param name: Name in error messages.
    :param log: File to which its output is appended.
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
        _tell_watchdog(f"+{self.pid}")

    @property
    def has_ended(self) -> bool:
        """True if the process has ended; others of its session may still run."""
        # WNOWAIT leaves the process unreaped, so the kernel does not reuse its pid, which names its session.
        return self._over or bool(os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT))

    def raise_if_dead(self) -> None:
        """Raise an error if the process has ended.

        :raises RuntimeError: If it has ended; the message holds the end of its log.
        """
        if self.has_ended:
            raise RuntimeError(f"{self.name} ended:\n{tail(self.log)}")

    def wait_for_output(self, pattern: str, timeout: float = 30.0) -> str:
        """Wait until the log matches a pattern, and return the pattern's group.

        :param pattern: Regular expression with one group.
        :param timeout: Timeout in seconds; default 30.
        :raises RuntimeError: If the process ends, or its log does not match in time.
        """
        deadline = time.monotonic() + timeout
        while not (found := re.search(pattern, self.log.read_text(errors="replace"))):
            self.raise_if_dead()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start within {timeout:.0f} s:\n{tail(self.log)}")
            time.sleep(0.05)
        return found[1]

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process alone."""
        if not self._over:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM to the process and all that it started."""
        _signal_all(self.members(), signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process and all that it started."""
        if not self._over:
            _end_sessions({self.pid}, grace=0)
            self._popen.wait()
            self._over = True
            _tell_watchdog(f"-{self.pid}")

    def members(self) -> list[int]:
        """Return the pids of all living processes of its session."""
        return [] if self._over else members_of({self.pid})

    def __repr__(self) -> str:
        return f"Process({self.name}, {self.pid})"


def stop_all(processes: Sequence[Process], grace: float = GRACE) -> None:
    """Stop processes and all that they started: SIGTERM, wait, SIGKILL.

    :param grace: Seconds between SIGTERM and SIGKILL; default 4.
    """
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and any(process.members() for process in processes):
        time.sleep(0.05)
    for process in processes:
        process.kill()


def members_of(sessions: Collection[int]) -> list[int]:
    """Return the pids of all living processes of some sessions."""
    return [pid for pid in psutil.pids() if _session_of(pid) in sessions and _is_alive(pid)]


def _session_of(pid: int) -> int:
    """Return a process's session id; 0 if the process is gone."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def _end_sessions(sessions: Collection[int], grace: float) -> None:
    """Send SIGTERM, wait ``grace`` seconds, then kill until no process is left.

    Processes that are ending may still start others, so one SIGKILL for each is not enough.
    """
    deadline = time.monotonic() + grace
    if grace:
        _signal_all(members_of(sessions), signal.SIGTERM)
    while members := members_of(sessions):
        if time.monotonic() >= deadline:
            _signal_all(members, signal.SIGKILL)
        time.sleep(0.02)


def _signal_all(pids: Collection[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


# ── watchdog: a process that ends the sessions if this process is killed ──


@functools.cache
def _watchdog() -> subprocess.Popen[str]:
    # Its standard input ends when this process ends for any reason. It has its own session, so a signal to our
    # process group or terminal does not reach it.
    watchdog = subprocess.Popen(
        [sys.executable, "-I", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    atexit.register(watchdog.communicate)
    return watchdog


def _tell_watchdog(change: str) -> None:
    stdin = _watchdog().stdin
    if stdin is not None:
        print(change, file=stdin, flush=True)


def _watch_over_sessions() -> None:
    """Read started (``+7``) and ended (``-7``) sessions; at end of input, end the rest."""
    sessions: set[int] = set()
    for change in sys.stdin:
        number = int(change[1:])
        if change[0] == "+":
            sessions.add(number)
        else:
            sessions.discard(number)
    _end_sessions(sessions, GRACE)


if __name__ == "__main__":
    _watch_over_sessions()
