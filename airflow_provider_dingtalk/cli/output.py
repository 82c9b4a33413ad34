"""Output of the commands: answers on stdout, all other texts on stderr."""

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

_answers: TextIO | None = None


@contextmanager
def answers_alone() -> Iterator[None]:
    """Reserve stdout for answers; within the context, Airflow's log goes to stderr."""
    global _answers
    sys.stdout.flush()
    kept = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    try:
        with os.fdopen(os.dup(kept), "w", encoding="utf-8") as _answers:
            yield
    finally:
        _answers = None
        sys.stdout.flush()
        os.dup2(kept, _STDOUT)
        os.close(kept)


def plain(text: str) -> str:
    """Replace control characters, so that foreign texts do not control the terminal."""
    kept = "\n\t"
    return "".join(
        send_request if send_request.isprintable() or send_request in kept else "\N{REPLACEMENT CHARACTER}"
        for send_request in text
    )


def say(text: str) -> None:
    """Print a text for the user on stderr."""
    print(plain(text), file=sys.stderr, flush=True)


def answer(text: str) -> None:
    """Print the answer on stdout."""
    _write(plain(text))


def _write(text: str) -> None:
    try:
        print(text, file=_answers, flush=True)
    except BrokenPipeError:
        # The reader closed the pipe, as "| head" does. The exit status still counts, so the text is discarded.
        if _answers is not None:
            with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
                os.dup2(nowhere.fileno(), _answers.fileno())


def answer_json(value: Any) -> None:
    """Print the answer as JSON on stdout."""
    # JSON escapes characters below the blank only. Terminals obey some beyond ASCII too, so this escapes them.
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    _write(
        "".join(
            send_request if send_request.isprintable() or send_request == "\n" else _escaped(send_request)
            for send_request in text
        )
    )


def _escaped(send_request: str) -> str:
    pair = send_request.encode("utf-16-be").hex()
    return "".join(f"\\u{pair[at : at + 4]}" for at in range(0, len(pair), 4))


def tell_error(error: DingTalkError, *, as_json: bool) -> None:
    """Print an error on stderr, and as JSON on stdout if ``as_json``."""
    if as_json:
        fields = {"type": type(error).__name__, "code": error.code, "message": error.message}
        answer_json({"error": {**fields, "next_step": error.next_step}})
    say(f"{type(error).__name__}: {error}")


def check_somebody_agrees(*, yes: bool) -> None:
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


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Format rows in columns, at most :data:`MAX_ROWS` of them."""
    cells = [[str(cell) for cell in row] for row in (header, *rows[:MAX_ROWS])]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    if len(rows) > MAX_ROWS:
        lines.append(f"… and {len(rows) - MAX_ROWS:,} more; --json shows all.")
    return "\n".join(lines)


class _PlainFormatter(logging.Formatter):
    """Log formatter that replaces control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record without control characters."""
        return plain(super().format(record))


def log_to_stderr() -> None:
    """Print the package's log, which shows the progress, on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PlainFormatter("%(message)s"))
    logger = logging.getLogger("airflow_provider_dingtalk")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
