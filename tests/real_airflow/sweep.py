"""Everything that Airflow wrote: database rows, logs and metrics."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from configparser import RawConfigParser
from contextlib import closing
from pathlib import Path

from cryptography.fernet import Fernet

#: Text that Airflow encrypted, e.g. the arguments of triggers.
ENCRYPTED = re.compile(r"gAAAA[\w-]{60,}=*")


def rows(home: Path) -> Iterator[tuple[str, str]]:
    """List every database row as decrypted text, with its table."""
    fernet = Fernet(_fernet_key(home))
    with closing(sqlite3.connect(f"file:{home}/airflow.db?mode=ro", uri=True)) as database:
        for name in tables(database):
            for row in database.execute(f'SELECT * FROM "{name}"'):
                # Not str(tuple), which would quote quoted values again.
                text = "\n".join(_text(value) for value in row)
                yield name, text + "".join(fernet.decrypt(found).decode() for found in ENCRYPTED.findall(text))


def tables(database: sqlite3.Connection) -> list[str]:
    """List the names of all tables."""
    return [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def logs(home: Path) -> Iterator[tuple[str, str]]:
    """List every log of tasks and of Airflow's processes."""
    for file in home.rglob("*.log"):
        yield str(file.relative_to(home)), file.read_text(errors="replace")


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _fernet_key(home: Path) -> str:
    config = RawConfigParser()
    config.read(home / "airflow.cfg")
    return config["core"]["fernet_key"]
