"""Row ``peers``: our recall of 10,000 keys beside other clients.

There is no rate limit; the calls go over TLS with 50 ms of latency.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from airflow_provider_dingtalk.jobs.recall import WORKERS
from benchmarks.clients import CLIENTS, KEYS_PER_CALL
from benchmarks.results import Figure, Result, Row, at_least, at_most, beside, exactly, median_of
from benchmarks.server import LATENCY, Server, serving

KEYS = 10_000
#: Number of rounds, and of rounds with the clients that take half a minute each.
ROUNDS = 3
SLOW_ROUNDS = 1
SLOW = {"sdk_loop", "sdk_gather", "sdk_gather_bounded", "requests_per_call", "requests_session", "raw_sequential"}
#: Names of the clients in the table.
NAMES = {
    "ours": "ours",
    "aiohttp_bare": "aiohttp bare, as many",
    "httpx_async": "httpx.AsyncClient, as many",
    "sdk_loop": "official SDK, loop",
    "sdk_threads": "official SDK, as many threads",
    "sdk_gather": "official SDK, gather",
    "sdk_gather_bounded": "official SDK, gather of as many",
    "requests_per_call": "requests per call",
    "requests_session": "requests.Session",
    "raw_sequential": "bare socket, one after the other",
    "raw_parallel": "bare sockets, as many",
    "raw_pipelined": "bare socket, pipelined",
}


def measure(quick: bool) -> Result:
    """Measure all clients in turn, several times."""
    keys = KEYS // 10 if quick else KEYS
    runs: list[dict[str, Any]] = []
    with serving(latency=LATENCY) as server:
        for number in range(1 if quick else ROUNDS):
            names = [name for name in CLIENTS if number < SLOW_ROUNDS or name not in SLOW]
            # Each round begins with another client, so the order favours none.
            for name in names[number:] + names[:number]:
                runs.append({"round": number, **run(server, name, keys)})
                print(f"  {runs[-1]}", file=sys.stderr, flush=True)
    with serving(latency=0.0) as server:
        ceiling = run(server, "raw_pipelined", KEYS)
    runs.append({"round": "ceiling", **ceiling})
    return Result(_figures(runs, ceiling), runs, _notes(runs))


def run(server: Server, name: str, keys: int) -> dict[str, Any]:
    """Run one client in its own process on new messages.

    :returns: Its times, and the number of recalled messages that the server counted.
    """
    server.reset()
    given = {
        "url": server.url,
        "keys": server.create_messages(keys),
        "token": server.token(),
        "ca_file": server.ca_file,
        "in_flight": WORKERS,
    }
    done = run_client(name, given, server.ca_file)
    calls = keys // KEYS_PER_CALL
    return {
        "client": name,
        "calls": calls,
        **{what: round(value, 4) if isinstance(value, float) else value for what, value in done.items()},
        "cpu_ms_per_call": round(1000 * done["cpu"] / calls, 3),
        "recalled": server.recalled(),
        "keys": keys,
    }


def run_client(name: str, given: dict[str, Any], ca_file: str | None) -> dict[str, Any]:
    """Start a client, wait until it is ready, and return its result."""
    # The SDK has no argument for a CA file, so SSL_CERT_FILE makes it trust the server.
    env = {name: value for name, value in os.environ.items() if not name.endswith("_CA_BUNDLE")}
    env |= {"SSL_CERT_FILE": ca_file} if ca_file else {}
    command = [sys.executable, "-m", "benchmarks.clients", name]
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
    if client.stdout is None or client.stdout.readline() != "ready\n":
        raise RuntimeError(f"the client {name} did not start")
    said, _ = client.communicate(json.dumps(given) + "\n", timeout=300)
    done: dict[str, Any] = json.loads(said)
    return done


def _figures(runs: list[dict[str, Any]], ceiling: dict[str, Any]) -> list[Figure]:
    by_client = {name: [run for run in runs if run["client"] == name and run["round"] != "ceiling"] for name in NAMES}
    wall = {name: median_of(of, "wall") for name, of in by_client.items()}
    cpu = {name: median_of(of, "cpu_ms_per_call") for name, of in by_client.items()}
    whole = sum(run["recalled"] == run["keys"] for run in by_client["ours"])
    per_second = {name: of[0]["calls"] / wall[name] for name, of in by_client.items()}
    top = ceiling["calls"] / ceiling["wall"]
    # The pipelined socket measures the wire itself, so it is not one of the clients the server must keep up with.
    fastest = max(rate for name, rate in per_second.items() if name != "raw_pipelined")
    figures = [
        at_least("faster than the official SDK's loop", wall["sdk_loop"] / wall["ours"], 15, "×"),
        at_least("faster than requests per call", wall["requests_per_call"] / wall["ours"], 20, "×"),
        at_most("CPU per call over bare aiohttp", cpu["ours"] / cpu["aiohttp_bare"], 2.5, "×"),
        at_most("CPU per call over httpx.AsyncClient", cpu["ours"] / cpu["httpx_async"], 1, "×"),
        at_most("CPU per call over the official SDK's loop", cpu["ours"] / cpu["sdk_loop"], 2, "×"),
        at_most("CPU per call over the official SDK's gather", cpu["ours"] / _async_cpu(by_client), 1 / 20, "×"),
        exactly("runs of ours with every key recalled in the server's truth", whole, len(by_client["ours"])),
        at_least("the server's own ceiling over the fastest client", top / fastest, 3, "×"),
        beside("the server's own ceiling", top, "calls/s"),
    ]
    for name, title in NAMES.items():
        figures += [beside(f"{title}: wall", wall[name], "s"), beside(f"{title}: CPU per call", cpu[name], "ms")]
    return figures


def _async_cpu(by_client: dict[str, list[dict[str, Any]]]) -> float:
    """Return the CPU milliseconds per call of the SDK's async methods.

    It is the lower of two ways to call them, without runs that raised.
    """
    both = by_client["sdk_gather"] + by_client["sdk_gather_bounded"]
    worked = [run for run in both if not run["error"]] or both
    return min(float(run["cpu_ms_per_call"]) for run in worked)


def _notes(runs: list[dict[str, Any]]) -> list[str]:
    failed = {run["client"]: run for run in runs if run["error"]}
    return [
        f"{ROUNDS} interleaved rounds, {SLOW_ROUNDS} of clients that take long; medians.",
        f"{WORKERS} calls in flight where it says “as many”.",
        *(
            f"{NAMES[name]}: raised {run['error']}; {run['recalled']} of {run['keys']} messages were recalled."
            for name, run in failed.items()
        ),
    ]


ROW = Row("peers", "10,000 keys, no rate limit, TLS, 50 ms", measure)
