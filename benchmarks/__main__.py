"""Benchmark command: ``python -m benchmarks [row ...] [--quick] [--json FILE] [--table FILE]``."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import history, hosts, imports, pace, peers, poll_schedule, sends, tasks, triggerer, waits
from benchmarks.calibration import loop_ms, note
from benchmarks.results import Row
from benchmarks.table import Figures, printed

ROWS: dict[str, Row] = {
    row.name: row
    for row in (
        pace.ALONE,
        pace.PROCESSES,
        pace.STRANGER,
        hosts.ROW,
        peers.ROW,
        waits.TRIGGER,
        waits.WAITS,
        triggerer.ROW,
        poll_schedule.ROW,
        tasks.ROW,
        history.ROW,
        sends.ROW,
        imports.ROW,
    )
}


def main(argv: Sequence[str] | None = None, rows: Mapping[str, Row] = ROWS) -> int:
    """Measure rows one after the other.

    :param argv: Arguments; default those of the command line.
    :param rows: Rows by name; default all of the benchmark.
    :returns: 1 if a goal is missed, or a row failed; otherwise 0.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", help=f"which; by default all: {', '.join(rows)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: to see that it runs, not how fast")
    parser.add_argument("--json", type=Path, help="file of figures; rows that are not measured now stay as they are")
    parser.add_argument("--table", type=Path, help="Markdown file with the table of these figures between two marks")
    options = parser.parse_args(argv)
    if unknown := set(options.rows) - rows.keys():
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(rows)}")
    figures = Figures.load(options.json, list(rows))
    missed = 0
    for name in options.rows or rows:
        row = rows[name]
        print(f"{name}: {row.title}", file=sys.stderr, flush=True)
        began, speed = time.monotonic(), loop_ms()
        try:
            result = row.measure(options.quick)
        except Exception:
            # The other rows are worth their time all the same.
            traceback.print_exc()
            missed += 1
            continue
        result.notes.append(note(speed, loop_ms()))
        figures.note(row, result, seconds=time.monotonic() - began, quick=options.quick)
        missed += sum(one.holds is False for one in result.figures)
        print(printed(result), flush=True)
        # Saved after each row, so an interrupted run keeps the rows that were measured.
        figures.save(options.json)
        figures.write_table(options.table)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
