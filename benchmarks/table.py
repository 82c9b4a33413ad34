"""JSON file and Markdown table of the figures.

Rows that are not measured again keep their figures.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import commit, machine, versions
from benchmarks.results import Figure, Result, Row

BEGIN = "<!-- figures: written by python -m benchmarks -->"
END = "<!-- end of figures -->"
_SIGNS = {True: "yes", False: "**no**", None: ""}


class Figures:
    """The newest figures of each row.

    :param rows: Plain JSON of the rows by name.
    :param order: Names of all rows, in the order of the table. Other rows are dropped.
    """

    def __init__(self, rows: dict[str, Any], order: Sequence[str]) -> None:
        self._rows = {name: row for name, row in rows.items() if name in order}
        self._order = order

    @classmethod
    def load(cls, path: Path | None, order: Sequence[str]) -> Figures:
        """Load the figures of earlier runs; none if the file does not exist."""
        found = json.loads(path.read_text(encoding="utf-8"))["rows"] if path and path.exists() else {}
        return cls(found, order)

    def note(self, row: Row, result: Result, *, seconds: float, quick: bool) -> None:
        """Replace the figures of a row."""
        self._rows[row.name] = {
            "title": row.title,
            "measured": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"),
            "commit": commit(),
            "seconds": round(seconds),
            "quick": quick,
            "machine": machine(),
            "versions": versions(),
            **result.to_json(),
        }

    def save(self, path: Path | None) -> None:
        """Write the figures to a JSON file; None writes nothing."""
        if path:
            path.write_text(json.dumps({"rows": self._rows}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def write_table(self, path: Path | None) -> None:
        """Replace the table between the marks in a Markdown file; None writes nothing."""
        if path is None:
            return
        text = path.read_text(encoding="utf-8")
        head, _, rest = text.partition(BEGIN)
        _, _, tail = rest.partition(END)
        rows = [_section(name, self._rows[name]) for name in self._order if name in self._rows]
        path.write_text(f"{head}{BEGIN}\n\n" + "\n\n".join(rows) + f"\n\n{END}{tail}", encoding="utf-8")


def printed(result: Result) -> str:
    """Return the figures of a row as text for a terminal."""
    lines = [
        f"  {_number(figure.value)} {figure.unit:8} {figure.goal:14} {_SIGNS[figure.holds]:8} {figure.what}"
        for figure in result.figures
    ]
    return "\n".join([*lines, *(f"  {note}" for note in result.notes)])


def _section(name: str, row: dict[str, Any]) -> str:
    where = row["machine"]
    facts = f"{where['cores']} cores, {where['memory']}, {where['python']}; {row['measured']}, commit {row['commit']}"
    quick = " **A quick run: it shows that the row runs, and no more.**" if row["quick"] else ""
    lines = [
        f"### {row['title']}",
        "",
        f"`python -m benchmarks {name}`, {row['seconds']} s. {facts}.{quick}",
        "",
        "| what | goal | figure | holds |",
        "|---|---|---|---|",
        *(_line(Figure(**figure)) for figure in row["figures"]),
        "",
        *(f"- {note}" for note in row["notes"]),
    ]
    return "\n".join(lines).rstrip()


def _line(figure: Figure) -> str:
    unit = f" {figure.unit}" if figure.unit else ""
    return f"| {figure.what} | {figure.goal} | {_number(figure.value)}{unit} | {_SIGNS[figure.holds]} |"


def _number(value: float) -> str:
    """Format a number with three or four significant digits; whole numbers in full."""
    if float(value).is_integer() or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if 0.1 <= abs(value) < 10 else f"{value:.3g}"
