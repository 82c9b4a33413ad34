"""Output of the commands: results on stdout, all other texts on stderr."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import msgspec

from airflow_provider_dingtalk.exceptions import DeclinedError, DingTalkError, InvalidInputError

#: Maximum number of rows of a table; JSON shows all.
MAX_ROWS = 50
_STDOUT, _STDERR = 1, 2

_results: TextIO | None = None


@contextmanager
def reserved_stdout() -> Iterator[None]:
    """Reserve stdout for results; within the context, Airflow's log goes to stderr."""
    global _results
    sys.stdout.flush()
    saved = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    try:
        with os.fdopen(os.dup(saved), "w", encoding="utf-8") as _results:
            yield
    finally:
        _results = None
        sys.stdout.flush()
        os.dup2(saved, _STDOUT)
        os.close(saved)


def plain(text: str) -> str:
    """Replace control characters, so that foreign texts do not control the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def print_note(text: str) -> None:
    """Print a text for the user on stderr."""
    print(plain(text), file=sys.stderr, flush=True)


def print_result(text: str) -> None:
    """Print the result on stdout."""
    _write(plain(text))


def print_json(value: Any) -> None:
    """Print the result as JSON on stdout."""
    # JSON escapes characters below the blank only. Terminals obey some beyond ASCII too, so this escapes them.
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    _write("".join(char if char.isprintable() or char == "\n" else _escaped(char) for char in text))


def _escaped(char: str) -> str:
    pair = char.encode("utf-16-be").hex()
    return "".join(f"\\u{pair[at : at + 4]}" for at in range(0, len(pair), 4))


def _write(text: str) -> None:
    try:
        print(text, file=_results, flush=True)
    except BrokenPipeError:
        # The reader closed the pipe, as "| head" does. The exit status still counts, so the text is discarded.
        if _results is not None:
            with Path(os.devnull).open("w", encoding="utf-8") as devnull:
                os.dup2(devnull.fileno(), _results.fileno())


def print_error(error: DingTalkError, *, as_json: bool) -> None:
    """Print an error on stderr, and as JSON on stdout if ``as_json``."""
    name = type(error).__name__
    if as_json:
        fields = {"type": name, "code": error.code, "message": error.message, "next_step": error.next_step}
        print_json({"error": fields})
    print_note(f"{name}: {error}")


def check_can_confirm(*, yes: bool) -> None:
    """Check that the user agreed already or can be asked.

    :param yes: The user agreed on the command line.
    :raises InvalidInputError: If the user did not agree and stdin is not a terminal.
    """
    if not yes and not sys.stdin.isatty():
        raise InvalidInputError("--yes", "is required without a terminal")


def confirm(question: str, *, yes: bool, word: str = "y") -> None:
    """Ask the user to agree.

    :param yes: The user agreed on the command line, so do not ask.
    :param word: Answer that the user must type; default ``y``. ``yes`` is accepted too.
    :raises DeclinedError: If the user did not agree.
    """
    if yes:
        return
    print(f"{question} [{word}/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in (word, "yes"):
        raise DeclinedError("Nothing was done.", code="declined")


def format_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Format rows in columns, at most :data:`MAX_ROWS` of them."""
    cells = [[str(cell) for cell in row] for row in (header, *rows[:MAX_ROWS])]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    if len(rows) > MAX_ROWS:
        lines.append(f"… and {len(rows) - MAX_ROWS:,} more; --json shows all.")
    return "\n".join(lines)


class _NoteHandler(logging.Handler):
    """Log handler that prints each record as a note."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record without control characters."""
        print_note(self.format(record))


def log_to_stderr() -> None:
    """Print the package's log, which shows the progress, on stderr."""
    logger = logging.getLogger("airflow_provider_dingtalk")
    logger.handlers = [_NoteHandler()]
    logger.setLevel(logging.INFO)
    logger.propagate = False
