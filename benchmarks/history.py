"""Row ``history``: what it takes to find the messages of past runs, in real Airflow on SQLite.

The runs are rows of Airflow's database that :mod:`dev.past_runs` writes. Requests are lines of the API server's access
log, without heartbeats. The task finds the messages and makes a plan; the start of its process is not counted. The
command finds them, and its start is counted: so the figure is what each further run takes.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow_provider_dingtalk.sandbox.testing import connection_to
from benchmarks.results import Figure, Result, Row, at_most, beside, exactly
from dev.airflow_stack import AirflowStack

#: Numbers of runs, of messages for each of them, and of the runs of a DAG that is swept.
FEW, MANY, MESSAGES, SWEPT, UNFINISHED = 120, 480, (1, 10), 2_000, 3
#: Timeout of a run in seconds.
TIMEOUT = 300.0
WINDOW, SWEEP = "bench_window", "bench_sweep"
WAYS = TASK, COMMAND = "task", "command"


def measure(quick: bool) -> Result:
    """Measure rollbacks by time in a task and on the command line, then sweeps."""
    few, many, swept = (12, 48, 200) if quick else (FEW, MANY, SWEPT)
    past = [(messages, number) for messages in MESSAGES for number in (few, many)]
    with _airflow([_dag_id(*one) for one in past] + [f"swept_{number}" for number in (UNFINISHED, swept)]) as airflow:
        runs = [
            {"way": way, "runs": number, "messages": messages, **_window(airflow, way, number, messages)}
            for messages, number in past
            for way in WAYS
        ]
        sweeps = [_sweep(airflow, number) for number in (UNFINISHED, swept)]
    return result_of(runs, sweeps)


def result_of(runs: list[dict[str, Any]], sweeps: list[dict[str, Any]]) -> Result:
    """Return the figures of windows over few and many runs, and of sweeps over few and many runs."""
    figures: list[Figure] = []
    for messages in MESSAGES:
        for way in WAYS:
            of_way = [run for run in runs if (run["way"], run["messages"]) == (way, messages)]
            figures += _figures(f"{way}, {messages} messages each", *of_way)
    alone, all_runs = sweeps
    name = f"sweep of {all_runs['runs']} runs, {UNFINISHED} unfinished"
    figures += [
        exactly(f"{name}: requests more than for these alone", all_runs["requests"] - alone["requests"], 0),
        beside(f"{name}: requests", all_runs["requests"]),
        beside(f"{name}: time", 1000 * all_runs["seconds"], "ms"),
        beside(f"sweep of the {UNFINISHED} runs alone: time", 1000 * alone["seconds"], "ms"),
    ]
    note = "One measurement each, of runs that ended within two hours. LocalExecutor, SQLite, one API server."
    return Result(figures, runs + sweeps, [note])


def _figures(name: str, few: dict[str, Any], many: dict[str, Any]) -> list[Figure]:
    """Return the figures of one way to search, over few and many runs."""
    further = many["runs"] - few["runs"]
    each = (many["seconds"] - few["seconds"]) / further
    growth = each * few["runs"] / few["seconds"]
    # The command also lists the runs, a hundred a request.
    limit = 2 if name.startswith(TASK) else 2.02
    return [
        at_most(f"{name}: requests for each further run", (many["requests"] - few["requests"]) / further, limit),
        at_most(f"{name}: time for a further run, over that for one of few", growth, 1.5, "×"),
        beside(f"{name}: requests for {few['runs']} runs", few["requests"]),
        beside(f"{name}: requests for {many['runs']} runs", many["requests"]),
        beside(f"{name}: time for each further run", 1000 * each, "ms"),
        beside(f"{name}: time for {many['runs']} runs", many["seconds"], "s"),
    ]


def _dag_id(messages: int, runs: int) -> str:
    return f"past_{runs}_{messages}"


def _window(airflow: AirflowStack, way: str, runs: int, messages: int) -> dict[str, Any]:
    dag_id = _dag_id(messages, runs)
    if way == TASK:
        _add_past_runs(airflow, dag_id, runs, messages)
    conf = {"dag": dag_id, "since": (dt.datetime.now(dt.UTC) - dt.timedelta(hours=2)).isoformat()}
    if way == TASK:
        return _counted(airflow, b"/execution/", lambda: _task(airflow, WINDOW, conf), runs * messages)
    return _counted(airflow, b"/api/v2/", lambda: _command(airflow, conf), runs * messages)


def _sweep(airflow: AirflowStack, runs: int) -> dict[str, Any]:
    dag_id = f"swept_{runs}"
    _add_past_runs(airflow, dag_id, runs, 1, unfinished=UNFINISHED)
    done = _counted(airflow, b"/execution/", lambda: _task(airflow, SWEEP, {"dag": dag_id}), UNFINISHED)
    return {"way": "sweep", "runs": runs, **done}


def _counted(airflow: AirflowStack, api: bytes, find: Callable[[], tuple[int, float]], messages: int) -> dict[str, Any]:
    """Count the requests of one search, and check that it found all messages."""
    log = airflow.home / "api-server.log"
    before = log.stat().st_size
    found, seconds = find()
    if found != messages:
        raise RuntimeError(f"found {found} of {messages} messages")
    lines = log.read_bytes()[before:].splitlines()
    requests = sum(api in line and b"/heartbeat" not in line for line in lines)
    done = {"requests": requests, "seconds": round(seconds, 3)}
    print(f"  {messages} messages: {done}", file=sys.stderr, flush=True)
    return done


def _task(airflow: AirflowStack, dag_id: str, conf: dict[str, str]) -> tuple[int, float]:
    """Run a task; return the number of messages of its plan, and its duration."""
    run = airflow.api.trigger(dag_id, conf)
    if airflow.api.wait_run(dag_id, run, TIMEOUT) != "success":
        raise RuntimeError(f"{dag_id} failed:\n{airflow.api.task_log(dag_id, run, 'task')}")
    plan = airflow.api.xcom(dag_id, run, "task", "plan")
    return int(plan["counts"]["total"]), float(airflow.api.xcom(dag_id, run, "task", "seconds"))


def _command(airflow: AirflowStack, conf: dict[str, str]) -> tuple[int, float]:
    """Run the command; return the number of messages of its plan, and its duration."""
    command = [sys.executable, "-m", "airflow_provider_dingtalk", "rollback", "--dry-run", "--json"]
    command += ["--since", conf["since"], "--dag", conf["dag"], "--airflow-url", airflow.url]
    began = time.monotonic()
    done = subprocess.run(command, env=airflow.env, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the command failed:\n{done.stderr}")
    return len(json.loads(done.stdout)["receipts"]), time.monotonic() - began


def _add_past_runs(airflow: AirflowStack, dag_id: str, runs: int, messages: int, unfinished: int = 0) -> None:
    numbers = [str(runs), str(messages), "--open", str(unfinished)]
    subprocess.run([sys.executable, "-m", "dev.past_runs", dag_id, *numbers], env=airflow.env, check=True)


@contextmanager
def _airflow(past: list[str]) -> Iterator[AirflowStack]:
    with tempfile.TemporaryDirectory() as folder:
        dags = Path(folder) / "dags"
        dags.mkdir()
        shutil.copy(Path(__file__).parent / "dags" / "bench_history.py", dags)
        # Nothing is recalled, so no DingTalk is needed.
        env = {
            "AIRFLOW_CONN_DINGTALK_DEFAULT": json.dumps(connection_to("http://127.0.0.1:9")),
            "BENCH_PAST_DAGS": " ".join(past),
        }
        with AirflowStack(dags, env) as airflow:
            for dag in (WINDOW, SWEEP, *past):
                airflow.wait_for_dag(dag)
            yield airflow


ROW = Row("history", "Messages of past runs, found by time and by a sweep", measure)
