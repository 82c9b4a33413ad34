"""Everything that Airflow wrote: each row of its database, each log, each metric."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from configparser import RawConfigParser
from contextlib import closing
from pathlib import Path

from cryptography.fernet import Fernet

#: What Airflow encrypted, triggers' arguments among it.
ENCRYPTED = re.compile(r"gAAAA[\w-]{60,}=*")


def rows(home: Path) -> Iterator[tuple[str, str]]:
    """Every row as text, by table: XComs, rendered fields, triggers, log events and all else, decrypted."""
    fernet = Fernet(_fernet_key(home))
    with closing(sqlite3.connect(f"file:{home}/airflow.db?mode=ro", uri=True)) as database:
        for name in tables(database):
            for row in database.execute(f'SELECT * FROM "{name}"'):
                # Not the text of a tuple: that would quote what is quoted once more.
                text = "\n".join(_text(value) for value in row)
                yield name, text + "".join(fernet.decrypt(found).decode() for found in ENCRYPTED.findall(text))


def tables(database: sqlite3.Connection) -> list[str]:
    """Their names."""
    return [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def logs(home: Path) -> Iterator[tuple[str, str]]:
    """Every log, of tasks and of Airflow's own processes."""
    for file in home.rglob("*.log"):
        yield str(file.relative_to(home)), file.read_text(errors="replace")


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _fernet_key(home: Path) -> str:
    config = RawConfigParser()
    config.read(home / "airflow.cfg")
    return config["core"]["fernet_key"]
