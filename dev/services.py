"""PostgreSQL and Redis of Debian's packages as child processes, on loopback and in temporary folders."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from dev.processes import Process, free_port, tail

#: Timeout in seconds until a server accepts connections, or until it has ended.
TIMEOUT = 60.0
LOOPBACK = "127.0.0.1"
MISSING = "{} is missing; make debian-services installs the Debian packages postgresql and redis-server"


class Redis:
    """Redis server that keeps its data when it is killed.

    :param home: Folder of its log.
    """

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self.url = f"redis://{LOOPBACK}:{self.port}"
        self._log = home / "redis.log"
        self._folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self._process: Process | None = None

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        command = [_program("redis-server", "/usr/bin"), "--port", str(self.port), "--bind", LOOPBACK]
        command += ["--dir", str(self._folder), "--appendonly", "yes", "--save", ""]
        self._process = Process("redis", command, os.environ, self._log)
        _wait_for_port(self._process, self.port)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        if self._process:
            self._process.kill()

    def remove(self) -> None:
        """Kill it and remove its data."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


class Postgres:
    """PostgreSQL server with the database ``postgres`` of the user ``airflow``.

    It refuses to run as root; root runs it as the user ``postgres`` of the package.

    :param home: Folder of its log.
    """

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self.address = f"airflow@{LOOPBACK}:{self.port}/postgres"
        self._log = home / "postgres.log"
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._process: Process | None = None

    def create(self) -> None:
        """Create its files.

        :raises RuntimeError: If PostgreSQL cannot create them; the message holds the end of its log.
        """
        if _user():
            shutil.chown(self._folder, "postgres", "postgres")
        command = [*_user(), _program("initdb", "/usr/lib/postgresql/*/bin"), "-D", str(self._folder / "data")]
        command += ["-U", "airflow", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        with self._log.open("ab") as log:
            done = subprocess.run(command, cwd="/", stdout=log, stderr=log, check=False)
        if done.returncode:
            raise RuntimeError(f"initdb failed:\n{tail(self._log)}")

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        command = [*_user(), _program("postgres", "/usr/lib/postgresql/*/bin"), "-D", str(self._folder / "data")]
        command += ["-p", str(self.port), "-k", str(self._folder)]
        # Without fsync a crash of the machine would lose data; a crash of the server loses none.
        for option in (f"listen_addresses={LOOPBACK}", "max_connections=300", "fsync=off"):
            command += ["-c", option]
        self._process = Process("postgres", command, os.environ, self._log)
        _wait_for_port(self._process, self.port)

    def stop(self) -> None:
        """Stop it at once, without telling its clients: PostgreSQL's immediate shutdown."""
        if self._process is None:
            return
        # Its backends are sessions of their own and end by this signal, not by one to its session.
        self._process.send(signal.SIGQUIT)
        deadline = time.monotonic() + TIMEOUT
        while not self._process.has_ended and time.monotonic() < deadline:
            time.sleep(0.05)
        self._process.kill()

    def remove(self) -> None:
        """Stop it and remove its data."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def _user() -> Sequence[str]:
    """Return the command that changes from root to the user of the package; nothing for others."""
    if os.getuid():
        return []
    user = pwd.getpwnam("postgres")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _program(name: str, folders: str) -> str:
    """Return the path of a program in the newest of some folders.

    :raises RuntimeError: If the program is missing.
    """
    found = sorted(Path("/").glob(f"{folders[1:]}/{name}"))
    if not found:
        raise RuntimeError(MISSING.format(name))
    return str(found[-1])


def _wait_for_port(process: Process, port: int) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not _accepts(port):
        process.raise_if_dead()
        if time.monotonic() > deadline:
            raise RuntimeError(f"{process.name} does not listen after {TIMEOUT:.0f} s:\n{tail(process.log)}")
        time.sleep(0.05)


def _accepts(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((LOOPBACK, port)) == 0
