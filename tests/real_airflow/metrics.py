"""Collector of Airflow's metrics: StatsD datagrams on loopback."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Self

#: Maximum size of a datagram in bytes.
MAX_DATAGRAM = 65536
#: Seconds between two checks for the end.
CHECK_INTERVAL = 0.5


class Metrics:
    """Collector that stores every line."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(CHECK_INTERVAL)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._collect, name="metrics", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()

    @property
    def env(self) -> dict[str, str]:
        """Environment variables that make Airflow send its metrics here."""
        return {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(self._socket.getsockname()[1]),
            "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",  # with tags
            # Airflow 3.3.2: with StatsD, the runs of a DAG whose id is not ASCII are never scheduled without it.
            "AIRFLOW__METRICS__STAT_NAME_HANDLER": "urllib.parse.quote",
        }

    def _collect(self) -> None:
        while not self._ended.is_set():
            try:
                datagram = self._socket.recv(MAX_DATAGRAM)
            except TimeoutError:
                continue
            self.lines += datagram.decode(errors="replace").splitlines()
