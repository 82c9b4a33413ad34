"""Airflow's supervisor at the other end of the stream of a task or a triggerer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import _ResponseFrame


class Supervisor:
    """Supervisor that answers each request on a socket.

    :param answer: Function that returns body and error of the answer to a request.
    """

    def __init__(
        self, sock: socket.socket, answer: Callable[[dict[str, Any]], tuple[dict[str, Any] | None, Any]]
    ) -> None:
        self._sock = sock
        self._answer = answer
        self.asked: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until the other end is closed."""
        self._thread.join()

    def _serve(self) -> None:
        while head := self._read(4):
            number, request, *_ = msgspec.msgpack.decode(self._read(int.from_bytes(head, "big")))
            self.asked.append(request["type"])
            body, error = self._answer(request)
            self._sock.sendall(_ResponseFrame(id=number, body=body, error=error).as_bytes())

    def _read(self, size: int) -> bytes:
        found = b""
        while len(found) < size and (piece := self._sock.recv(size - len(found))):
            found += piece
        return found


@contextmanager
def stream_of_process(comms: Any) -> Iterator[None]:
    """Make a stream that of this process, as Airflow's task runner and triggerer do when they start."""
    task_runner.SUPERVISOR_COMMS = comms
    try:
        yield
    finally:
        del task_runner.SUPERVISOR_COMMS
