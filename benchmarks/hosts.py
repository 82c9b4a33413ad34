"""Row ``hosts``: four recalls of 2,000 messages at once on two hosts that call as one app.

Without Redis the hosts know of each other by throttles only. Through Redis they share one limit; the server is that of
Debian's package redis-server. Two hosts are two folders for the limiter's state. Fields of a run are those of ``pace``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.pace import DELAY, KEYS_PER_CALL, WINDOWS, measure
from benchmarks.results import Figure, Result, Row, at_most, exactly
from dev.services import Redis

KEYS, RECALLS, HOSTS, RATE = 8_000, 4, 2, 20
CALLS = KEYS / KEYS_PER_CALL


def measure_hosts(quick: bool) -> Result:
    """Measure both windows, without Redis and through it."""
    windows = WINDOWS[:1] if quick else WINDOWS
    alone = [_measured(window) for window in windows]
    with _redis() as url:
        shared = [_measured(window, url) for window in windows]
    figures = [figure for run in alone for figure in _figures(run, "without Redis", 1.2, 3)]
    figures += [figure for run in shared for figure in _figures(run, "through Redis", 1.05, 0)]
    whole = sum(run["recalled"] == KEYS for run in alone + shared)
    figures.append(exactly("runs in which all messages are gone", whole, len(alone + shared)))
    note = "; ".join(f"{run['window']}: {run['seconds_of_each']}" for run in alone + shared)
    return Result(
        figures, alone + shared, [f"{RATE} calls/s, {DELAY * 1000:.0f} ms each. Seconds of each recall: {note}."]
    )


def _measured(window: str, redis: str = "") -> dict[str, Any]:
    run = measure(RATE, window, RECALLS, DELAY, other_client=False, count=KEYS, hosts=HOSTS, redis=redis)
    print(f"  {run}", file=sys.stderr, flush=True)
    return run


def _figures(run: dict[str, Any], how: str, ratio: float, throttled: float) -> list[Figure]:
    name = f"{how}, {run['window']} window"
    each = run["seconds_of_each"]
    return [
        at_most(f"{name}: wall over calls / rate", run["ratio"], ratio, "×"),
        at_most(f"{name}: calls throttled", 100 * run["throttled"] / CALLS, throttled, "%"),
        at_most(f"{name}: slowest recall over the fastest", round(max(each) / min(each), 3), 1.3, "×"),
    ]


@contextmanager
def _redis() -> Iterator[str]:
    """Start a Redis; yield its URL."""
    with tempfile.TemporaryDirectory() as home:
        redis = Redis(Path(home))
        try:
            redis.start()
            yield redis.url
        finally:
            redis.remove()


ROW = Row("hosts", "Four recalls of 2,000 keys on two hosts at once", measure_hosts)
