"""Durable state of a killed task in one SQLite file: task state store, XComs and results of tries.

It behaves as Airflow's. Tries share the state, and XComs are deleted when a try starts. A superseded try can write
no more state, but it can still push XComs. A write that returned survives SIGKILL.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

_TABLES = """
create table if not exists state (key text primary key, value blob);
create table if not exists xcom (key text primary key, value blob);
create table if not exists ends (try integer primary key, value blob);
create table if not exists tries (number integer primary key);
"""


class SupersededError(Exception):
    """Error of a superseded try; Airflow's store answers 404 to it."""


class FileStore:
    """Durable store of one task instance, as seen by one of its tries.

    :param path: Path of the file, which is created if it does not exist.
    :param number: Number of the try that writes; default 0, for readers.
    """

    def __init__(self, path: Path, number: int = 0) -> None:
        self.number = number
        self._one_at_a_time = threading.Lock()
        # Airflow's accessor is used by several threads, one at a time, so SQLite's thread check is off.
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=off")
        self._db.executescript(_TABLES)

    def begin_try(self) -> None:
        """Begin this try; earlier tries can no longer write, and their XComs are deleted."""
        with self._one_at_a_time:
            self._db.execute("begin immediate")
            self._db.execute("insert into tries values (?)", [self.number])
            self._db.execute("delete from xcom")
            self._db.execute("commit")

    # ── the task state store ──

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key."""
        found = self._read("state", "key", key)
        return default if found is None else found

    def set(self, key: str, value: Any) -> None:
        """Store a value.

        :raises SupersededError: If a newer try has begun.
        """
        if value is None:
            raise ValueError(key)
        encoded = msgspec.json.encode(value)
        if msgspec.json.decode(encoded) != value:
            raise TypeError(f"{key}: Airflow takes plain JSON only")
        with self._one_at_a_time:
            # The check and the write are one transaction, so no newer try can begin between them.
            self._db.execute("begin immediate")
            try:
                (newest,) = self._db.execute("select max(number) from tries").fetchone()
                if newest != self.number:
                    raise SupersededError(f"status_code: 404: try {self.number}, and {newest} has begun")
                self._db.execute("insert or replace into state values (?, ?)", [key, encoded])
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")

    # ── XComs ──

    def xcom_push(self, key: str, value: Any) -> None:
        """Store an XCom, also of a superseded try."""
        with self._one_at_a_time:
            self._db.execute("insert or replace into xcom values (?, ?)", [key, msgspec.json.encode(value)])

    def xcom(self, key: str) -> Any:
        """Return an XCom, or None if it does not exist."""
        return self._read("xcom", "key", key)

    # ── results of tries ──

    def end(self, value: Mapping[str, Any]) -> None:
        """Store the result of this try."""
        with self._one_at_a_time:
            self._db.execute("insert into ends values (?, ?)", [self.number, msgspec.json.encode(value)])

    def end_of(self, number: int) -> dict[str, Any] | None:
        """Return the result of a try; None if it was killed."""
        found: dict[str, Any] | None = self._read("ends", "try", number)
        return found

    def state(self) -> dict[str, Any]:
        """Return the whole task state."""
        with self._one_at_a_time:
            rows = self._db.execute("select key, value from state").fetchall()
        return {key: msgspec.json.decode(value) for key, value in rows}

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _read(self, table: str, column: str, key: Any) -> Any:
        with self._one_at_a_time:
            row = self._db.execute(f"select value from {table} where {column} = ?", [key]).fetchone()
        return None if row is None else msgspec.json.decode(row[0])
