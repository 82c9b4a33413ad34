"""Commands as forks of a process that has imported Airflow, whose start takes longer than most commands.

This package is imported in the fork, but for what Airflow itself imports of it, and the fork ends as a program does.
As a program, ``python -m tests.cli.forks FD`` is that process.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import IO, Self

#: Beginnings of the names of variables that are read after Airflow is imported, so each command may have its own.
READ_LATE = ("AIRFLOW_API_", "AIRFLOW_CONN_", "AIRFLOW__DINGTALK__", "HTTP_PROXY")
#: Maximum seconds of a command.
TIMEOUT = 120
PACKAGE = "airflow_provider_dingtalk"


class Forks:
    """Context manager of the process that forks for each command.

    :param env: Environment of the process; that of a command may differ in what is read late.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen([sys.executable, "-m", __name__, str(number)], env=env, pass_fds=[number])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._process.wait()

    def run(self, arguments: tuple[str, ...], env: Mapping[str, str], stdin: str) -> tuple[int, str, str]:
        """Run a command and return its exit status, standard output and standard error."""
        with ExitStack() as stack:
            files = [stack.enter_context(TemporaryFile("w+", encoding="utf-8")) for _ in range(4)]
            for file, text in zip(files, (json.dumps([arguments, dict(env)]), stdin), strict=False):
                file.write(text)
                file.seek(0)
            socket.send_fds(self._socket, [b"\n"], [file.fileno() for file in files])
            status = int(self._socket.recv(16))
            out, err = map(_text, files[2:])
            return status, out, err


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def import_airflow() -> None:
    """Import what of Airflow and of other packages the commands use."""
    import aiohttp  # noqa: F401
    import airflow.cli.simple_table  # noqa: F401
    import httpx  # noqa: F401
    import pendulum  # noqa: F401
    from airflow.sdk import BaseHook, Connection  # noqa: F401

    from airflow_provider_dingtalk import version_compat  # noqa: F401

    assert threading.active_count() == 1, "a fork has one thread"


def fork_for_each_command(number: int) -> None:
    """Fork for each command that arrives at a socket, and return in the fork as that command."""
    with socket.socket(fileno=number) as peer:
        while True:
            _, descriptors, *_ = socket.recv_fds(peer, 1, 4)
            if not descriptors:
                sys.exit()
            if not os.fork():
                break
            for descriptor in descriptors:
                os.close(descriptor)
            _, status = os.wait()
            peer.send(b"%d" % os.waitstatus_to_exitcode(status))
    _become(descriptors)


def _become(descriptors: list[int]) -> None:
    signal.alarm(TIMEOUT)
    with os.fdopen(descriptors[0]) as request:
        arguments, env = json.load(request)
    for number, descriptor in enumerate(descriptors[1:]):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(env)
    sys.argv[1:] = arguments


if __name__ == "__main__":
    import_airflow()
    gc.freeze()  # otherwise each fork would copy the memory at its end
    fork_for_each_command(int(sys.argv[1]))
    runpy.run_module(PACKAGE, run_name="__main__", alter_sys=True)
