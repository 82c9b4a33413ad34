"""What outlives a killed task: a task state store, XComs and the ends of tries, in one SQLite file.

It behaves as Airflow's: tries share the state, XComs are deleted when a try starts, and a try that was
superseded can write no more state, though it can still push XComs. A write that returned survives SIGKILL.
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
    """A newer try has begun: Airflow's store answers 404 to this one."""


class FileStore:
    """One task instance's part of a durable store, as one of its tries sees it.

    :param path: The file; made if it is missing.
    :param number: The try that writes; 0 for somebody who only looks.
    """

    def __init__(self, path: Path, number: int = 0) -> None:
        self.number = number
        self._one_at_a_time = threading.Lock()
        # Airflow's accessor is used from several threads, one at a time.
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=off")
        self._db.executescript(_TABLES)

    def begin_try(self) -> None:
        """Start this try: those before it can write no more, and their XComs are gone."""
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
        """Keep a value.

        :raises SupersededError: A newer try has begun.
        """
        if value is None:
            raise ValueError(key)
        encoded = msgspec.json.encode(value)
        if msgspec.json.decode(encoded) != value:
            raise TypeError(f"{key}: Airflow takes plain JSON only")
        with self._one_at_a_time:
            # The fence and the write are one: no newer try can begin between them.
            self._db.execute("begin immediate")
            try:
                (newest,) = self._db.execute("select max(number) from tries").fetchone()
                if newest != self.number:
                    raise SupersededError(f"try {self.number}, and {newest} has begun")
                self._db.execute("insert or replace into state values (?, ?)", [key, encoded])
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")

    # ── XComs ──

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep an XCom, whoever pushes it."""
        with self._one_at_a_time:
            self._db.execute("insert or replace into xcom values (?, ?)", [key, msgspec.json.encode(value)])

    def xcom(self, key: str) -> Any:
        """An XCom; None if there is none."""
        return self._read("xcom", "key", key)

    # ── ends ──

    def end(self, value: Mapping[str, Any]) -> None:
        """Take down how this try ended by itself."""
        with self._one_at_a_time:
            self._db.execute("insert into ends values (?, ?)", [self.number, msgspec.json.encode(value)])

    def end_of(self, number: int) -> dict[str, Any] | None:
        """How a try ended; None if it was killed."""
        found: dict[str, Any] | None = self._read("ends", "try", number)
        return found

    def state(self) -> dict[str, Any]:
        """All of the task state."""
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
