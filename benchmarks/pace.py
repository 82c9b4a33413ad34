"""Rows ``pace``, ``processes`` and ``stranger``: speed of recalls under the rate limit of DingTalk.

Each run recalls 10,000 one-on-one messages (500 calls) from a sandbox in another process. The sandbox counts calls
in fixed or in sliding seconds and throttles those over the limit. Fields of a run:

``ratio``      seconds from the first call to the last, over ``calls / rate``, without the rate of the other client
``throttled``  calls that the sandbox throttled, without those of the other client
``calls``      calls that were not throttled; must be 500
``used``       API calls in the reports; ``recall`` and one ``token`` per process without errors
``recalled``   messages that the reports say were recalled
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from airflow_provider_dingtalk.client.auth import InternalApp
from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.endpoints import RecallOtoMessages
from airflow_provider_dingtalk.client.hosts import hosts_at
from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
from airflow_provider_dingtalk.client.rate_limit.redis_store import parse_redis_url
from airflow_provider_dingtalk.client.retry import RetryPolicy
from airflow_provider_dingtalk.exceptions import ThrottlingError
from airflow_provider_dingtalk.jobs.recall import Recall
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from airflow_provider_dingtalk.sandbox.default import CLIENT_ID, CLIENT_SECRET, ROBOT_CODE
from benchmarks.results import Figure, Result, Row, at_most, exactly, median_of

KEYS = 10_000
KEYS_PER_CALL = 20
API = "robot/otoMessages/batchRecall"
APP = InternalApp(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
SANDBOX = "airflow_provider_dingtalk.sandbox"
#: Number of runs by rate limit (calls per second of each edition). The slowest rate takes long, so it runs once.
ROUNDS = {20: 1, 40: 2, 60: 2}
WINDOWS = ("fixed", "sliding")
#: Seconds that the sandbox adds to each answer.
DELAY = 0.05


def measure_alone(quick: bool) -> Result:
    """Measure one process without other clients."""
    runs = _runs(1, other_client=False, quick=quick)
    return Result([*_ratios(runs, 1.04), *_exact(runs, processes=1)], runs, [_note(runs)])


def measure_processes(quick: bool) -> Result:
    """Measure four processes of one host, each with a quarter of the messages."""
    runs = _runs(4, other_client=False, quick=quick)
    return Result([*_ratios(runs, 1.05), *_exact(runs, processes=4)], runs, [_note(runs)])


def measure_stranger(quick: bool) -> Result:
    """Measure one process while another client of the app uses half the rate.

    The other client calls at a fixed interval.
    """
    runs = _runs(1, other_client=True, quick=quick)
    calls = KEYS / KEYS_PER_CALL
    figures = _ratios(runs, 1.2)
    for name, of in _by_case(runs).items():
        figures.append(at_most(f"{name}: calls throttled", 100 * median_of(of, "throttled") / calls, 3, "%"))
    figures.append(exactly("runs in which all messages are gone", _whole(runs), len(runs)))
    return Result(figures, runs, [_note(runs)])


def _runs(processes: int, *, other_client: bool, quick: bool) -> list[dict[str, Any]]:
    runs = []
    for number in range(1 if quick else max(ROUNDS.values())):
        for rate in [rate for rate, rounds in ROUNDS.items() if number < rounds and not (quick and rate < max(ROUNDS))]:
            for window in WINDOWS:
                runs.append(measure(rate, window, processes, DELAY, other_client))
                print(f"  {runs[-1]}", file=sys.stderr, flush=True)
    return runs


def _by_case(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    cases: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        cases.setdefault(f"{run['rate']}/s, {run['window']} window", []).append(run)
    return cases


def _ratios(runs: list[dict[str, Any]], limit: float) -> list[Figure]:
    what = "wall over calls / rate" if limit < 1.2 else "wall over calls / what is left of the rate"
    return [at_most(f"{name}: {what}", median_of(of, "ratio"), limit, "×") for name, of in _by_case(runs).items()]


def _exact(runs: list[dict[str, Any]], *, processes: int) -> list[Figure]:
    used = [run["used"] for run in runs]
    as_planned = sum(each == {"recall": KEYS // KEYS_PER_CALL, "token": processes} for each in used)
    tokens = "1 token call" if processes == 1 else f"{processes} token calls"
    return [
        exactly("calls throttled, all runs together", sum(run["throttled"] for run in runs), 0),
        exactly(f"runs with exactly 500 recall calls and {tokens}", as_planned, len(runs)),
        exactly("runs in which all messages are gone", _whole(runs), len(runs)),
    ]


def _whole(runs: list[dict[str, Any]]) -> int:
    return sum(run["recalled"] == KEYS for run in runs)


def _note(runs: list[dict[str, Any]]) -> str:
    all_ratios = "; ".join(
        f"{name}: {', '.join(str(run['ratio']) for run in of)}" for name, of in _by_case(runs).items()
    )
    return f"The sandbox takes {DELAY * 1000:.0f} ms for each call. Medians; the ratios of all runs: {all_ratios}."


def measure(
    rate: int,
    window: str,
    processes: int,
    latency: float,
    other_client: bool,
    *,
    count: int = KEYS,
    hosts: int = 1,
    redis: str = "",
) -> dict[str, Any]:
    """Recall from a new sandbox and return the figures of the run.

    :param count: Number of messages.
    :param hosts: Number of hosts, each with a folder of its own; the processes are dealt out to them.
    :param redis: URL of the Redis through which the hosts share the rate limit; default empty, none.
    """
    with _sandbox(rate, window) as url, httpx.Client(base_url=f"{url}/_sandbox", trust_env=False) as door:
        keys = door.post("/plant", json={"kind": "oto", "count": count}).json()["keys"]
        delay = {"match": API, "action": {"type": "delay", "seconds": latency}}
        door.put("/faults", json=[delay]).raise_for_status()
        shares = [keys[n::processes] for n in range(processes)]
        done, other = _run(url, rate, shares, other_client, hosts=hosts, redis=redis)
        truth = door.get("/truth", params={"brief": 1}).json()
    seconds = max(worker["ended"] for worker in done) - min(worker["began"] for worker in done)
    used = sum((Counter(worker["used"]) for worker in done), Counter[str]())
    counted = truth["calls"][API]
    left = rate / 2 if other_client else rate
    return {
        "rate": rate,
        "window": window,
        "processes": processes,
        "other_client": other or None,
        "ratio": round(seconds / (count / KEYS_PER_CALL / left), 4),
        "seconds": round(seconds, 2),
        "seconds_of_each": [round(worker["ended"] - worker["began"], 2) for worker in done],
        "throttled": counted["throttled"] - other.get("throttled", 0),
        "calls": counted["total"] - counted["throttled"] - other.get("went_through", 0),
        "used": {why: number for why, number in used.items() if number and why != "total"},
        "recalled": sum(worker["recalled"] for worker in done),
        "cpu_ms_per_call": round(1000 * sum(worker["cpu"] for worker in done) / (count / KEYS_PER_CALL), 2),
    }


@contextmanager
def _sandbox(rate: int, window: str) -> Iterator[str]:
    command = [sys.executable, "-m", SANDBOX, "--port", "0", "--calls-per-second", str(rate)]
    command += ["--behaviour", f"throttle_window={window}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield str(process.stdout and process.stdout.readline()).split()[-1]
    finally:
        process.terminate()
        process.communicate()


def _run(
    url: str, rate: int, shares: list[list[str]], other_client: bool, *, hosts: int, redis: str
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Run workers that recall their shares at the same time.

    :returns: The output of each worker, and the counts of the other client (empty without one).
    """
    command = [sys.executable, "-m", "benchmarks.pace", url, str(rate)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with tempfile.TemporaryDirectory() as folder:
        workers = [subprocess.Popen([*command, f"{folder}/{n % hosts}", redis], **pipes) for n in range(len(shares))]
        for worker in workers:
            worker.stdout.readline()  # type: ignore[union-attr]
        other = subprocess.Popen([*command, "stranger"], **pipes) if other_client else None
        if other:
            other.stdout.readline()  # type: ignore[union-attr]
        for worker, share in zip(workers, shares, strict=True):
            worker.stdin.write(json.dumps(share) + "\n")  # type: ignore[union-attr]
            worker.stdin.flush()  # type: ignore[union-attr]
        done = [json.loads(worker.communicate()[0]) for worker in workers]
        return done, json.loads(other.communicate("\n")[0]) if other else {}


async def _work(url: str, rate: str, folder: str, redis: str = "") -> None:
    if folder == "stranger":
        print(json.dumps(await _be_another_client(url, int(rate) / 2)))
        return
    limiter = RateLimiter(float(rate), folder=Path(folder), redis=parse_redis_url(redis), app=f"{url} {CLIENT_ID}")
    client = DingTalkClient(APP, hosts_at(url), limiter=limiter)
    print("ready", flush=True)
    keys = json.loads(sys.stdin.readline())
    job = Recall([Receipt(kind=Kind.OTO, robot_code=ROBOT_CODE, process_query_key=key) for key in keys])
    began, cpu = time.monotonic(), time.process_time()
    report = await job.run(client)
    ended, cpu = time.monotonic(), time.process_time() - cpu
    await client.aclose()
    await limiter.aclose()
    account = report.to_json()
    recalled = account["counts"]["recalled"]
    print(json.dumps({"began": began, "ended": ended, "cpu": cpu, "used": account["api_calls"], "recalled": recalled}))


async def _be_another_client(url: str, rate: float) -> dict[str, int]:
    """Call at a fixed interval, unlimited, until standard input has a line."""
    client = DingTalkClient(APP, hosts_at(url), limiter=RateLimiter(0), retry_policy=RetryPolicy(throttled_tries=1))
    told: Counter[str] = Counter(went_through=0, throttled=0)
    call = RecallOtoMessages(robot_code=ROBOT_CODE, process_query_keys=["unknown"])

    async def once() -> None:
        try:
            await client.call(call)
        except ThrottlingError:
            told["throttled"] += 1
        except Exception:
            told["went_through"] += 1  # refused because of its key, but counted as a call

    print("ready", flush=True)
    end = asyncio.ensure_future(asyncio.to_thread(sys.stdin.readline))
    in_flight: set[asyncio.Task[None]] = set()
    while not end.done():
        in_flight.add(asyncio.create_task(once()))
        await asyncio.sleep(1 / rate)
    await asyncio.gather(*in_flight)
    await client.aclose()
    return dict(told)


ALONE = Row("pace", "10,000 keys at the rate that DingTalk allows", measure_alone)
PROCESSES = Row("processes", "The same from 4 processes of one host at once", measure_processes)
STRANGER = Row("stranger", "The same while another client of the app takes half of the rate", measure_stranger)

if __name__ == "__main__":
    asyncio.run(_work(*sys.argv[1:]))
