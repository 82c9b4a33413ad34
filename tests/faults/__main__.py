"""Command of the whole fault harness: ``python -m tests.faults [--seed N] [--keys 10000] [--only ROW …]``.

It prints a line for each row as it ends; the last line is one JSON object of figures. The exit code is 1 if a
figure that must be zero is not, or if a row fell short.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import multiprocessing
import sys
import time
from pathlib import Path
from typing import Any

import tests.conftest  # noqa: F401 -- sets Airflow's surroundings before Airflow is imported
from tests.faults.bad_clients import BAD_CLIENTS, SHIPPED, broken_by, caught
from tests.faults.matrix import Figures
from tests.faults.rows import ROWS
from tests.faults.worker import run_job

PROCESSES = 2
#: Rows that take longest run first, so that the processes end at about the same time.
LONGEST = (6, 5, 18, 46, 4, 3, 2, 10, 34, 29, 30, 26)
#: Figures that are summed over the rows.
SUMMED = ("keys", "fired", "lost", "double", "false_recalled", "false_failed", "unknown", "sent_twice", "calls")
#: Figures that must be zero.
ZERO = ("lost", "double", "false_recalled", "false_failed", "sent_twice", "secrets_found", "rows_short")


def main(arguments: list[str]) -> int:
    """Run the harness and return the exit code."""
    options = _options(arguments)
    began = time.monotonic()
    figures = _rows(options) | _bad_clients(options)
    figures = _with_kills(figures, options)
    figures = _with_elsewhere(figures, options)
    figures |= {"seconds": round(time.monotonic() - began, 1), "seed": options.seed}
    failed = [name for name in ZERO if figures[name]]
    if figures["bad_clients_caught"] != figures["bad_clients"]:
        failed.append("bad_clients_caught")
    failed += [name for name in ("wrong", "elsewhere") if figures.get(name) and not options.only]
    if failed:
        print(f"must not be: {', '.join(f'{name} {figures[name]}' for name in failed)}")
    print(json.dumps(figures))
    return 1 if failed else 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="everything at random comes from it")
    parser.add_argument("--keys", type=int, default=10_000, help="messages a row")
    parser.add_argument("--real", type=Path, help="figures of python -m tests.faults.real_airflow, as it wrote them")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of rows; no kills and no bad clients then")
    return parser.parse_args(arguments)


# ── the rows ─────────────────────────────────────────────────────────────────────────────────────────


def _rows(options: argparse.Namespace) -> dict[str, Any]:
    numbers = options.only or [row.number for row in ROWS]
    jobs = [(number, options.seed, options.keys) for number in sorted(numbers, key=_order)]
    print(f"seed {options.seed}, {options.keys} keys a row, {len(jobs)} rows, {PROCESSES} processes", flush=True)
    done: list[Figures] = []
    leaks, max_rss = 0, 0
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for figures, found, rss in pool.imap_unordered(run_job, jobs):
            done.append(figures)
            leaks, max_rss = leaks + len(found), max(max_rss, rss)
            print(figures.line() + "".join(f"\n     ! secret in {leak}" for leak in found), flush=True)
    return _summed(done) | {"secrets_found": leaks, "max_rss": max_rss}


def _order(number: int) -> tuple[int, int]:
    return (LONGEST.index(number) if number in LONGEST else len(LONGEST), number)


def _summed(done: list[Figures]) -> dict[str, Any]:
    run = [figures for figures in done if figures.state in ("held", "fell short")]
    shares = [figures.hit_share for figures in run if figures.hit_share is not None]
    return {
        "faults": len(run),
        "cases": sum(figures.cases for figures in run),
        **{name: sum(getattr(figures, name) for figures in run) for name in SUMMED},
        "smallest_hit_share": min(shares, default=None),
        "rows_short": sum(figures.state == "fell short" for figures in run),
        "short": sorted(figures.row for figures in run if figures.state == "fell short"),
        "elsewhere": sorted(figures.row for figures in done if figures.state == "elsewhere"),
        "not_built": sorted(figures.row for figures in done if figures.state == "not built"),
    }


# ── bad clients, and rows that run elsewhere ─────────────────────────────────────────────────────────


def _bad_clients(options: argparse.Namespace) -> dict[str, Any]:
    if options.only:
        return {"bad_clients": 0, "bad_clients_caught": 0}
    logging.getLogger("airflow_provider_dingtalk").setLevel(logging.CRITICAL)
    found = 0
    for name in BAD_CLIENTS:
        invariant = caught(name, options.seed)
        found += invariant is not None
        print(f"bad client {name!r}: {f'caught by {invariant}' if invariant else 'NOT caught'}", flush=True)
    shipped = broken_by(SHIPPED, options.seed)
    print(f"shipped client in the same trials: {sorted(shipped) or 'breaks nothing'}", flush=True)
    return {"bad_clients": len(BAD_CLIENTS), "bad_clients_caught": 0 if shipped else found}


def _with_kills(figures: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures plus those of the kills; numbers of both are added.

    ``resent`` counts messages of the kills sent again because of ``on_unknown_send="resend"``. ``sent_twice`` must
    be 0.
    """
    figures = {"kills": 0, "resent": 0} | figures
    if options.only:
        return figures
    try:
        kills = importlib.import_module("tests.faults.kills")
    except ImportError as error:
        print(f"no kills: {error}", flush=True)
        return figures | {"kills_ran": False}
    for name, value in kills.run_all(options.seed).items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if name == "max_rss":
            figures[name] = max(figures[name], value)
        elif name in ("seed", "seconds", "faults"):
            figures[f"kills_{name}"] = value
        elif is_number and isinstance(figures.get(name), int | float):
            figures[name] += value
        else:
            figures[name] = value
    return figures | {"kills_ran": True}


def _with_elsewhere(figures: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures plus the rows that run elsewhere, counted if their part held."""
    real = json.loads(options.real.read_text()) if options.real else {}
    killed = not figures.get("wrong", ["did not run"])
    held = {
        32: killed and all(figures["points"].values()),
        36: killed,
        37: not real.get("wrong", ["did not run"]) and real["seed"] == options.seed and real["triggerer_kills"] > 1,
    }
    told = {
        32: ", ".join(f"{point} {count}" for point, count in figures.get("points", {}).items()),
        36: "a recall and a send, each by two tries at once",
        37: f"{real.get('triggerer_kills', 0)} kills of the triggerer",
    }
    for row in ROWS:
        if row.number in figures["elsewhere"]:
            state = "held" if held[row.number] else "NOT HELD"
            print(f"{row.number:2} {state:11} {row.name}, in {row.elsewhere}: {told[row.number]}")
    return figures | {
        "faults": figures["faults"] + sum(held[number] for number in figures["elsewhere"]),
        "elsewhere": [number for number in figures["elsewhere"] if not held[number]],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
