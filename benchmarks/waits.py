"""Rows ``trigger`` and ``waits``: 10,000 messages in one trigger, 10,000 waits in one loop.

Both run over TLS at 50 ms. The server counts the calls between two lines ("begin", "end") of the waiting process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from statistics import median
from typing import Any

from airflow_provider_dingtalk.sandbox.testing import connection_to
from benchmarks.results import Figure, Result, Row, at_least, at_most, beside, exactly, median_of
from benchmarks.server import LATENCY, Server, serving
from benchmarks.waiters import CONN_ID, POLL_INTERVAL

MESSAGES = 10_000
API = "robot/oToMessages/readStatus"
#: Highest rate limit of DingTalk in calls per second; the row ``trigger`` uses it.
RATE = 60
WARM_UP = 5.0
SECONDS = 40.0
ROUNDS = 3
#: Most CPU per call, as a multiple of what bare aiohttp takes at the same rate, and most lag of the loop.
CPU_RATIO, TRIGGER_LAG_RATIO, WAITS_LAG_RATIO = 2.5, 5.0, 10.0
#: Number of poll intervals that are measured after the one in which all waits begin.
INTERVALS = 2


def measure_trigger(quick: bool) -> Result:
    """Measure one trigger with all messages, several times."""
    rounds, seconds = (1, 10.0) if quick else (ROUNDS, SECONDS)
    runs = [_one_trigger(seconds) for _ in range(rounds)]
    bare = [run["bare"] for run in runs]
    cpu, lag = median_of(runs, "cpu_percent"), median_of(runs, "lag_p99_ms")
    figures = [
        at_least("rate, of the allowed", 100 * median_of(runs, "rate") / RATE, 98, "%"),
        exactly("calls throttled", sum(run["throttled"] for run in runs), 0),
        at_most("memory per message", median_of(runs, "bytes_each") / 1024, 1, "KiB"),
        at_most("CPU per call over bare aiohttp", median(map(_cpu_ratio, runs)), CPU_RATIO, "×"),
        at_most("loop lag p99 over bare aiohttp", lag / median_of(bare, "lag_p99_ms"), TRIGGER_LAG_RATIO, "×"),
        beside("CPU, of a core", cpu, "%"),
        beside("CPU per call", median(map(_ms_per_call, runs)), "ms"),
        beside("loop lag p99", lag, "ms"),
        beside("loop lag p99 with nothing to do", median_of([run["idle"] for run in runs], "lag_p99_ms"), "ms"),
        *_beside_bare(bare),
    ]
    note = (
        f"{rounds} runs of {seconds:.0f} s, each before one of bare aiohttp at the same rate; medians. "
        f"{MESSAGES:,} messages, {LATENCY * 1000:.0f} ms, TLS."
    )
    return Result(figures, runs, [note])


def _one_trigger(seconds: float) -> dict[str, Any]:
    with serving(latency=LATENCY, rate=RATE, window="sliding") as server, tempfile.TemporaryDirectory() as home:
        given = {"warm_up": WARM_UP, "seconds": seconds, "keys": server.create_messages(MESSAGES)}
        done, calls = _wait(server, "one_trigger", given | {"env": _airflow(server, home, RATE)})
        throttled = server.snapshot()["calls"][API]["throttled"]
    rate = round(calls / done["seconds"], 3)
    return {**done, "calls": calls, "rate": rate, "throttled": throttled, "bare": _bare_polls(RATE, seconds)}


def _bare_polls(rate: float, seconds: float) -> dict[str, Any]:
    """Poll at a rate with aiohttp alone; the machine's speed changes, so each measurement of ours has its own."""
    with serving(latency=LATENCY) as server:
        given = {"warm_up": WARM_UP, "seconds": seconds, "rate": rate, "keys": server.create_messages(1_000)}
        given |= {"url": server.url, "ca_file": server.ca_file, "token": server.token()}
        done, calls = _wait(server, "aiohttp_bare", given)
    return {**done, "calls": calls, "rate": round(calls / done["seconds"], 3)}


def _ms_per_call(run: dict[str, Any]) -> float:
    return float(10 * run["cpu_percent"] / run["rate"])


def _cpu_ratio(run: dict[str, Any]) -> float:
    """Return the CPU time per call of ours over that of bare aiohttp."""
    return _ms_per_call(run) / _ms_per_call(run["bare"])


def _beside_bare(bare: Sequence[dict[str, Any]]) -> list[Figure]:
    return [
        beside("aiohttp bare: CPU per call", median(map(_ms_per_call, bare)), "ms"),
        beside("aiohttp bare: loop lag p99", median_of(bare, "lag_p99_ms"), "ms"),
    ]


def measure_waits(quick: bool) -> Result:
    """Measure all single waits in one loop: ours, and a client per poll."""
    waits, intervals = (1_000, 1) if quick else (MESSAGES, INTERVALS)
    rate = waits / POLL_INTERVAL
    ours = _single_waits("single_waits", waits, intervals)
    ours |= {"rate": rate, "bare": _bare_polls(rate, POLL_INTERVAL * intervals)}
    lag, bare = ours["lag_p99_ms"], ours["bare"]
    theirs = _single_waits("client_per_poll", waits, 1)
    figures = [
        exactly("polls, of those due", ours["done_percent"], 100, "%"),
        at_most("CPU per poll over bare aiohttp", _cpu_ratio(ours), CPU_RATIO, "×"),
        at_most("loop lag p99 over bare aiohttp", lag / bare["lag_p99_ms"], WAITS_LAG_RATIO, "×"),
        at_most("memory per wait", ours["bytes_each"] / 1024, 20, "KiB"),
        beside("CPU, of a core", ours["cpu_percent"], "%"),
        beside("CPU per poll", _ms_per_call(ours), "ms"),
        beside("loop lag p99", lag, "ms"),
        beside("loop lag p99 with nothing to do", ours["idle"]["lag_p99_ms"], "ms"),
        *_beside_bare([bare]),
        *_beside(theirs),
    ]
    note = (
        f"One run of {intervals} intervals of 30 s (a client per poll: 1), after that in which they begin; {waits:,} "
        "waits, TLS, 50 ms. Bare aiohttp polls as often, evenly."
    )
    return Result(figures, [ours, theirs], [note])


def _beside(theirs: dict[str, Any]) -> list[Figure]:
    name = "a client per poll"
    return [
        beside(f"{name}: polls, of those due", theirs["done_percent"], "%"),
        beside(f"{name}: CPU, of a core", theirs["cpu_percent"], "%"),
        beside(f"{name}: loop lag p99", theirs["lag_p99_ms"], "ms"),
        beside(f"{name}: memory per wait", theirs["bytes_each"] / 1024, "KiB"),
        beside(f"{name}: errors", theirs["errors"]),
    ]


def _single_waits(name: str, waits: int, intervals: int) -> dict[str, Any]:
    with serving(latency=LATENCY) as server, tempfile.TemporaryDirectory() as home:
        keys = server.create_messages(waits)
        given = {"intervals": intervals, "keys": keys, "url": server.url, "ca_file": server.ca_file}
        given |= {"token": server.token(), "env": _airflow(server, home, 0)}
        done, calls = _wait(server, name, given)
    due = waits * (intervals + 1)
    return {"who": name, **done, "calls": calls, "due": due, "done_percent": round(100 * calls / due, 3)}


def _airflow(server: Server, home: str, rate: int) -> dict[str, str]:
    """Return the environment of an Airflow with one connection."""
    connection = connection_to(server.url)
    connection["extra"] |= {"calls_per_second": rate, "ca_file": server.ca_file}
    return {f"AIRFLOW_CONN_{CONN_ID.upper()}": json.dumps(connection), "AIRFLOW_HOME": home}


def _wait(server: Server, name: str, given: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Run a waiting process.

    :returns: Its result, and the number of calls between its "begin" and its "end".
    """
    command = [sys.executable, "-m", "benchmarks.waiters", name]
    waiter = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if waiter.stdin is None or waiter.stdout is None:
            raise RuntimeError("no pipes")
        waiter.stdin.write(json.dumps(given) + "\n")
        waiter.stdin.flush()
        arrived = []
        for word in ("begin\n", "end\n"):
            if (said := waiter.stdout.readline()) != word:
                raise RuntimeError(f"{name} did not come to its {word.strip()}: {said}")
            arrived.append(server.snapshot()["calls"].get(API, {"total": 0})["total"])
        # Part of the result may be in the reader's buffer, so the same reader reads it.
        done: dict[str, Any] = json.loads(waiter.stdout.readline())
    finally:
        waiter.kill()
        waiter.communicate()
    return done, arrived[1] - arrived[0]


TRIGGER = Row("trigger", "One trigger, 10,000 messages, 60 calls/s", measure_trigger)
WAITS = Row("waits", "10,000 single waits in one event loop, a poll each per 30 s", measure_waits)
