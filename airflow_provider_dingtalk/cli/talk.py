"""What a command says and asks: answers go to stdout, everything for the person beside them to stderr."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import msgspec

from airflow_provider_dingtalk.api.errors import DingTalkError, InvalidInputError
from airflow_provider_dingtalk.cli.exits import DeclinedError

#: Rows of a table for people; JSON has all.
MAX_ROWS = 50
_STDOUT, _STDERR = 1, 2

_answers: TextIO | None = None


@contextmanager
def answers_alone() -> Iterator[None]:
    """Keep stdout for answers. Airflow logs there, and what it writes goes to stderr meanwhile."""
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
    """Replace control characters: ids and states of other programs must not steer the terminal."""
    kept = "\n\t"
    return "".join(
        letter if letter.isprintable() or letter in kept else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def say(text: str) -> None:
    """Tell the person."""
    print(plain(text), file=sys.stderr, flush=True)


def answer(text: str) -> None:
    """Give the answer."""
    _write(plain(text))


def _write(text: str) -> None:
    try:
        print(text, file=_answers, flush=True)
    except BrokenPipeError:
        # Nobody reads on, as behind "| head": how the work ends matters, and not the rest of the text.
        if _answers is not None:
            with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
                os.dup2(nowhere.fileno(), _answers.fileno())


def answer_json(value: Any) -> None:
    """Give the answer to a machine."""
    # JSON escapes what is below a blank only, and terminals obey some characters beyond ASCII too.
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    _write("".join(letter if letter.isprintable() or letter == "\n" else _escaped(letter) for letter in text))


def _escaped(letter: str) -> str:
    pair = letter.encode("utf-16-be").hex()
    return "".join(f"\\u{pair[at : at + 4]}" for at in range(0, len(pair), 4))


def tell_error(error: DingTalkError, *, as_json: bool) -> None:
    """Say what went wrong; a machine gets it on stdout."""
    if as_json:
        fields = {"type": type(error).__name__, "code": error.code, "message": error.message}
        answer_json({"error": {**fields, "next_step": error.next_step}})
    say(f"{type(error).__name__}: {error}")


def check_somebody_agrees(*, yes: bool) -> None:
    """See that there is a yes, or somebody who can be asked, before anything is done.

    :raises InvalidInputError: There is not.
    """
    if not yes and not sys.stdin.isatty():
        raise InvalidInputError("--yes", "is needed: nobody is there to be asked")


def confirm(question: str, *, yes: bool, word: str = "y") -> None:
    """Have the person agree.

    :param yes: They did already, on the command line.
    :param word: What they must type.
    :raises DeclinedError: They did not agree.
    """
    if yes:
        return
    print(f"{question} [{word}/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in (word, "yes"):
        raise DeclinedError("Nothing was done.", code="declined")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows in columns, cut short after :data:`MAX_ROWS`."""
    cells = [[str(cell) for cell in row] for row in (header, *rows[:MAX_ROWS])]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    ]
    if len(rows) > MAX_ROWS:
        lines.append(f"… and {len(rows) - MAX_ROWS:,} more; --json shows all.")
    return "\n".join(lines)


class _PlainFormatter(logging.Formatter):
    """Formatter whose lines hold no control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        return plain(super().format(record))


def log_to_stderr() -> None:
    """Show the package's log, which tells the progress of long work, beside the answer and not in it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PlainFormatter("%(message)s"))
    logger = logging.getLogger("airflow_provider_dingtalk")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
