"""Output of the commands: results on stdout, all other texts on stderr."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TextIO
from unicodedata import east_asian_width

import msgspec
from msgspec import Struct

from airflow_provider_dingtalk.exceptions import DeclinedError, DingTalkError, InvalidInputError
from airflow_provider_dingtalk.language import choose

#: Maximum number of rows of a table; JSON shows all.
MAX_ROWS = 50
_STDOUT, _STDERR = 1, 2
#: Blanks of Chinese texts that Python does not call printable.
_BLANKS = "\N{IDEOGRAPHIC SPACE}\N{NO-BREAK SPACE}"

_results: TextIO | None = None
#: True once the document of a result is on stdout, which must hold one only.
_is_printed = False


class Result(Struct):
    """Result of a command, in each form that a user may choose.

    :param document: Whole result, for machines.
    :param header: Names of the columns, for tables; default none.
    :param rows: Cells of the tables; default none.
    :param text: Text for people; default empty.
    """

    document: Any
    header: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()
    text: str = ""


@contextmanager
def reserved_stdout() -> Iterator[None]:
    """Reserve stdout for results; within the context, Airflow's log goes to stderr."""
    global _results, _is_printed
    _is_printed, are_open = False, [stream is not None for stream in (sys.stdout, sys.stderr)]
    # Streams that the shell closed, as ">&-" does; other files may have their numbers.
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()
    sys.stdout.flush()
    if not are_open[0]:
        _results = sys.stdout
        yield
        return
    saved = os.dup(_STDOUT)
    os.dup2(_STDERR if are_open[1] else sys.stderr.fileno(), _STDOUT)
    try:
        with os.fdopen(os.dup(saved), "w", encoding="utf-8") as _results:
            yield
    finally:
        _results = None
        try:
            sys.stdout.flush()
        except OSError:  # what Airflow logged, into a closed pipe
            _discard(sys.stdout)
        os.dup2(saved, _STDOUT)
        os.close(saved)


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 -- it stays open until the end


def escape(text: str, keep: str = "") -> str:
    r"""Show characters that steer a terminal as Python's escapes, such as ``\x1b``.

    :param keep: Characters to leave; default none, so that a foreign text cannot add a line.
    """
    shown = (char if char.isprintable() or char in _BLANKS + keep else repr(char)[1:-1] for char in text)
    return "".join(shown)


def print_note(text: str) -> None:
    """Print a line for the user on stderr; a closed pipe does not stop the work."""
    try:
        print(escape(text), file=sys.stderr, flush=True)
    except OSError:
        # As below: a recall must not stop half-way because of "2>&1 | head", or a full disk.
        _discard(sys.stderr)


def print_result(result: Result, output_format: str | None) -> None:
    """Print the result on stdout.

    :param output_format: ``json`` or ``yaml`` for the document, ``table`` or ``plain`` for the rows, None for the text.
    """
    global _is_printed
    _is_printed = _results is not None
    match output_format:
        case None:
            _write(escape(result.text, keep="\n"))
        case "json":
            _write(format_json(result.document))
        case "plain":  # Airflow's own changes keys: its tabulate makes 1.23457e+12 of 1234567890123 next to 1e5.
            _write(format_columns(result.header, result.rows))
        case _:
            _write(_as_airflow_does(result, output_format))


def _as_airflow_does(result: Result, output_format: str) -> str:
    """Return a result as the table or the YAML of Airflow's own commands."""
    from airflow.cli.simple_table import AirflowConsole

    # Airflow's console prints on sys.stdout. This gives the text to _write, which knows closed pipes.
    with redirect_stdout(io.StringIO()) as printed:
        # Foreign texts may hold what rich takes for markup.
        console = AirflowConsole(markup=False, emoji=False, highlight=False, color_system=None)
        if _results is not None and _results.isatty():
            console.width = os.get_terminal_size(_results.fileno()).columns or console.width
        if output_format == "yaml":
            # YAML has no form for halves of surrogate pairs.
            text = json.dumps(msgspec.to_builtins(result.document), ensure_ascii=False)
            console.print_as_yaml(json.loads(text.encode(errors="replace")))
        else:
            cells = [[escape(str(cell)) for cell in row] for row in result.rows]
            console.print_as([dict(zip(result.header, row, strict=True)) for row in cells], output_format)
    return printed.getvalue().rstrip()


def format_json(value: Any) -> str:
    """Format a value as JSON for people and machines, without characters that steer a terminal."""
    # JSON escapes characters below the blank only. Terminals obey some beyond ASCII too, so this escapes them.
    # msgspec refuses halves of surrogate pairs, as of a file name that is not UTF-8.
    text = json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False)
    return "".join(char if char.isprintable() or char == "\n" else _json_escape(char) for char in text)


def _json_escape(char: str) -> str:
    pair = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{pair[at : at + 4]}" for at in range(0, len(pair), 4))


def _write(text: str) -> None:
    try:
        print(text, file=_results, flush=True)
    except BrokenPipeError:
        # The reader closed the pipe, as "| head" does. The exit status still counts, so the text is discarded.
        if _results is not None:
            _discard(_results)
    except OSError as error:
        if _results is not None:
            _discard(_results)
        reason = error.strerror
        raise DingTalkError(f"stdout: {reason}.", code="stdout", message_zh=f"标准输出：{reason}。") from None


def _discard(stream: TextIO) -> None:
    """Lead a stream, with what it has buffered, to nowhere."""
    with Path(os.devnull).open("w", encoding="utf-8") as devnull:
        os.dup2(devnull.fileno(), stream.fileno())
    stream.flush()


def print_error(error: DingTalkError, output_format: str | None) -> None:
    """Print an error on stderr, and on stdout too if that is JSON or YAML and holds no result yet."""
    if output_format in ("json", "yaml") and not _is_printed:
        print_result(Result({"error": error_json(error)}), output_format)
    print_note(f"{type(error).__name__}: {error}")


def error_json(error: DingTalkError) -> dict[str, str]:
    """Return an error as plain JSON."""
    fields = {"type": type(error).__name__, "code": error.code, "message": error.message, "next_step": error.next_step}
    chinese = {"message_zh": error.message_zh, "next_step_zh": error.next_step_zh}
    return fields | {name: text for name, text in chinese.items() if text}


def read_stdin(option: str, most: int = -1) -> str:
    """Read a text from stdin.

    :param option: Option that asks for it, for errors.
    :param most: Most characters; default all.
    :raises InvalidInputError: If stdin is closed, or is not UTF-8.
    """
    try:
        return sys.stdin.read(most)
    except (AttributeError, OSError, UnicodeDecodeError) as error:
        kind = type(error).__name__
        raise InvalidInputError(option, f"stdin cannot be read ({kind})", f"无法读取标准输入（{kind}）") from None


def check_can_confirm(*, yes: bool) -> None:
    """Check that the user agreed already or can be asked.

    :param yes: The user agreed on the command line.
    :raises InvalidInputError: If the user did not agree and stdin is not a terminal.
    """
    if not yes and not (sys.stdin and sys.stdin.isatty()):
        raise InvalidInputError("--yes", "is required without a terminal", "没有终端时须使用此选项")


def confirm(question: str, *, yes: bool, word: str = "y") -> None:
    """Ask the user to agree.

    :param yes: The user agreed on the command line, so do not ask.
    :param word: Answer that the user must type; default ``y``. ``yes`` is accepted too.
    :raises DeclinedError: If the user did not agree.
    """
    if yes:
        return
    print(f"{escape(question)} [{word}/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in (word, "yes"):
        raise DeclinedError("Nothing was done.", code="declined")


def format_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Format the first :data:`MAX_ROWS` rows for people, with titles in the language of the option."""
    lines = [format_columns(list(map(choose, header)), rows[:MAX_ROWS])]
    if (left := len(rows) - MAX_ROWS) > 0:
        lines.append(choose(f"… and {left:,} more; --json shows all.", f"……另有 {left:,} 行；--json 显示全部。"))
    return "\n".join(lines)


def format_columns(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Format rows in columns."""
    cells = [[escape(str(cell)) for cell in row] for row in (header, *rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(_padded, row, widths)).rstrip() for row in cells)


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - _width(cell))


def _width(text: str) -> int:
    """Return the columns of a terminal that a text takes; a Chinese character takes two."""
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in text)


class _NoteHandler(logging.Handler):
    """Log handler that prints each record as a note."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record in one line; of an exception its type only."""
        kind = record.exc_info[0] if record.exc_info else None
        print_note(record.getMessage() + (f" ({kind.__name__})" if kind else ""))


def log_to_stderr() -> None:
    """Print the package's log, which shows the progress, on stderr."""
    logger = logging.getLogger("airflow_provider_dingtalk")
    logger.handlers = [_NoteHandler()]
    logger.setLevel(logging.INFO)
    logger.propagate = False
