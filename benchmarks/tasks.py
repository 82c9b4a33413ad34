"""Row ``tasks``: one task with 10,000 keys beside 500 mapped tasks.

The mapped tasks have 20 keys each. There is no rate limit and no network latency, so the row measures the cost of
tasks. CPU is the CPU time of all processes of this Airflow. The mapped tasks are given a token; ours requests its
own.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from airflow_provider_dingtalk.client.auth import InternalApp
from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.hosts import hosts_at
from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
from airflow_provider_dingtalk.jobs.recall import Recall
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from airflow_provider_dingtalk.sandbox.default import CLIENT_ID, CLIENT_SECRET, ROBOT_CODE
from airflow_provider_dingtalk.sandbox.testing import connection_to
from benchmarks.calibration import loop_ms
from benchmarks.meters import processor_seconds_of, unreaped
from benchmarks.results import Result, Row, at_most, beside, exactly, median_of
from benchmarks.server import Server, serving
from dev.airflow_stack import AirflowStack

KEYS = 10_000
KEYS_PER_TASK = 20
#: Number of rounds before the mapped tasks, and after them, each with a run of each DAG of one task.
ROUNDS = 3
#: Number of recalls without a network.
ALONE = 7
#: Maximum number of tasks that Airflow runs at the same time.
PARALLELISM = 8
#: Timeouts in seconds of a run, and of its last process after the run.
RUN_TIMEOUT = 420.0
LINGERS = 2.0
ONE_TASK, NO_CHECKPOINT, MAPPED, TRIVIAL = "bench_one_task", "bench_no_checkpoint", "bench_mapped", "bench_trivial"
OF_ONE_TASK = (TRIVIAL, ONE_TASK, NO_CHECKPOINT)
DAGS = (*OF_ONE_TASK, MAPPED)


def measure(quick: bool) -> Result:
    """Measure a recall without a network, then all DAGs in a real Airflow."""
    keys, rounds = (1_000, 1) if quick else (KEYS, ROUNDS)
    # The machine's speed changes within seconds, so the loop runs between the recalls.
    loops, alone = zip(*((loop_ms(), asyncio.run(_without_network(keys))) for _ in range(ALONE)), strict=True)
    with serving(latency=0.0, tls=False) as server, _airflow(server, keys) as airflow:
        # The first round loads modules and writes byte code, so it is dropped. The machine's speed changes, so half
        # of the rounds are before the mapped tasks, and half after them.
        runs = _rounds(airflow, server, keys, rounds + 1)[len(OF_ONE_TASK) :]
        runs.append(_run(airflow, MAPPED))
        runs += _rounds(airflow, server, keys, rounds)
        recalled, expected = server.recalled(), 2 * keys * (2 * rounds + 1) + keys
    by_dag = {dag: [run for run in runs if run["dag"] == dag] for dag in DAGS}
    wall, cpu, task = ({dag: median_of(of, what) for dag, of in by_dag.items()} for what in ("wall", "cpu", "task"))
    figures = [
        at_most("wall of the run, over that of the mapped tasks", wall[ONE_TASK] / wall[MAPPED], 1 / 50, "×"),
        at_most("CPU of all of Airflow, over that of the mapped tasks", cpu[ONE_TASK] / cpu[MAPPED], 1 / 100, "×"),
        at_most(
            "recall without network and checkpoint, over the calibration loop",
            1000 * median(alone) / median(loops),
            3.5,
            "×",
        ),
        exactly("messages that are gone, all runs together", recalled, expected),
        beside("recall without network and checkpoint", 1000 * median(alone), "ms"),
        beside("the checkpoint's own time", 1000 * (task[ONE_TASK] - task[NO_CHECKPOINT]), "ms"),
    ]
    for dag, name in {
        TRIVIAL: "a task that does nothing",
        ONE_TASK: "one task, with a checkpoint",
        NO_CHECKPOINT: "one task, without a checkpoint",
        MAPPED: f"{keys // KEYS_PER_TASK} mapped tasks",
    }.items():
        figures += [beside(f"{name}: wall of the run", wall[dag], "s"), beside(f"{name}: CPU", cpu[dag], "s")]
        figures.append(beside(f"{name}: duration of a task", 1000 * task[dag], "ms"))
    note = (
        f"{2 * rounds} rounds of the DAGs of one task, half of them before the mapped tasks, medians; one run of the "
        f"mapped tasks, {PARALLELISM} side by side. LocalExecutor, SQLite."
    )
    other = f"Without the network: {ALONE} recalls over a transport that answers at once, median."
    return Result(figures, [*runs, {"without_network": alone}], [note, other])


# ── without the network ──────────────────────────────────────────────────────────────────────────────


class _AtOnce(httpx.AsyncBaseTransport):
    """Transport that returns prepared answers without delay."""

    def __init__(self, answers: dict[str, bytes]) -> None:
        self._answers = answers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("accessToken"):
            return httpx.Response(200, content=b'{"accessToken":"token","expireIn":7200}')
        # The first key selects the answer without parsing JSON, so the transport takes almost no time.
        at = request.content.index(b'["') + 2
        return httpx.Response(200, content=self._answers[request.content[at : at + 44].decode()])


async def _without_network(count: int) -> float:
    """Return the seconds of a recall over :class:`_AtOnce`."""
    keys = [f"{number:044d}" for number in range(count)]
    batches = (keys[at : at + KEYS_PER_TASK] for at in range(0, count, KEYS_PER_TASK))
    answers = {of[0]: json.dumps({"successResult": of, "failedResult": {}}).encode() for of in batches}
    client = DingTalkClient(
        InternalApp(client_id=CLIENT_ID, client_secret=CLIENT_SECRET),
        hosts_at("http://127.0.0.1:1"),
        limiter=RateLimiter(0),
        transport=_AtOnce(answers),
    )
    began = time.perf_counter()
    receipts = [Receipt(kind=Kind.OTO, robot_code=ROBOT_CODE, process_query_key=key) for key in keys]
    report = (await Recall(receipts).run(client)).to_json()
    seconds = time.perf_counter() - began
    if report["counts"]["recalled"] != count:
        raise RuntimeError("not everything was recalled")
    return round(seconds, 4)


# ── in Airflow ───────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _airflow(server: Server, keys: int) -> Iterator[AirflowStack]:
    connection = connection_to(server.url)
    connection["extra"]["calls_per_second"] = 0
    with tempfile.TemporaryDirectory() as folder:
        dags, given = Path(folder) / "dags", Path(folder) / "given.json"
        dags.mkdir()
        shutil.copy(Path(__file__).parent / "dags" / "bench_recalls.py", dags)
        _plant(server, given, keys)
        env = {
            "AIRFLOW_CONN_DINGTALK_DEFAULT": json.dumps(connection),
            "BENCH_RECALLS": str(given),
            "AIRFLOW__CORE__PARALLELISM": str(PARALLELISM),
            # The DAGs do not change, so the dag-processor need not parse them again.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3600",
        }
        with AirflowStack(dags, env) as airflow:
            for dag in DAGS:
                airflow.wait_for_dag(dag)
            yield airflow


def _rounds(airflow: AirflowStack, server: Server, keys: int, rounds: int) -> list[dict[str, Any]]:
    """Run the DAGs of one task several times, each time with new messages."""
    runs = []
    for _ in range(rounds):
        # A recall of recalled messages would be faster.
        _plant(server, Path(airflow.env["BENCH_RECALLS"]), keys)
        runs += [_run(airflow, dag) for dag in OF_ONE_TASK]
    return runs


def _plant(server: Server, given: Path, keys: int) -> None:
    each = {name: server.create_messages(keys) for name in ("one_task", "no_checkpoint", "mapped")}
    given.write_text(json.dumps({**each, "url": server.url, "token": server.token(), "robot_code": ROBOT_CODE}))


def _run(airflow: AirflowStack, dag: str) -> dict[str, Any]:
    """Run a DAG and return its figures in seconds.

    :returns: ``wall`` of the run, ``cpu`` of all processes of this Airflow, and ``task``, the median duration.
    """
    before = set(_members(airflow))
    used = _processor_seconds_of(airflow)
    run = airflow.api.trigger(dag)
    if airflow.api.wait_run(dag, run, RUN_TIMEOUT) != "success":
        raise RuntimeError(f"{dag} failed")
    _wait_for_the_end_of_others(airflow, before)
    used = _processor_seconds_of(airflow) - used
    found = airflow.api.get(f"/dags/{dag}/dagRuns/{run}")
    wall = _moment(found["end_date"]) - _moment(found["start_date"])
    tasks = [task["duration"] for task in airflow.api.task_instances(dag, run)]
    done = {"dag": dag, "wall": round(wall, 3), "cpu": round(used, 2), "task": round(median(tasks), 4)}
    print(f"  {done}", file=sys.stderr, flush=True)
    return done


def _wait_for_the_end_of_others(airflow: AirflowStack, known: set[int]) -> None:
    """Wait at most 2 s for the processes of the tasks to end.

    They outlive the tasks. A longer wait would add CPU time of the idle Airflow.
    """
    deadline = time.monotonic() + LINGERS
    while set(_members(airflow)) - known and time.monotonic() < deadline:
        time.sleep(0.02)


def _members(airflow: AirflowStack) -> list[int]:
    return [pid for process in airflow.processes.values() for pid in process.members()]


def _processor_seconds_of(airflow: AirflowStack) -> float:
    pids = _members(airflow)
    # A process may end between the two listings and appear in both, so the pids are a set.
    return processor_seconds_of({*pids, *unreaped(pids)})


def _moment(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()


ROW = Row("tasks", "One task with 10,000 keys beside 500 mapped tasks of 20, same Airflow", measure)
