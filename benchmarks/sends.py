"""Row ``sends``: a message to 1,000 people, one receipt each, in real Airflow under DingTalk's rate limit.

The bound is people over rate: each message takes a call. A loop of the official SDK, which keeps no receipt, stands
beside it. Requests are those that a task's supervisor makes to Airflow's API server, heartbeats included.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow_provider_dingtalk.sandbox.default import ROBOT_CODE
from airflow_provider_dingtalk.sandbox.testing import connection_to
from benchmarks.results import Result, Row, at_most, beside, exactly, median_of
from benchmarks.server import Server, serving
from dev.airflow_stack import AirflowStack

PEOPLE, RATE, ROUNDS = 1_000, 20, 2
OURS, SDK = "bench_send", "bench_send_sdk"
API = "robot/oToMessages/batchSend"
#: Timeout in seconds of a run.
RUN_TIMEOUT = 400.0
#: Request to Airflow's Execution API in the log of the API server.
_REQUEST = re.compile(r"/execution/")


def measure(quick: bool) -> Result:
    """Measure both DAGs in turn, in one Airflow."""
    people, rounds = (PEOPLE // 10, 1) if quick else (PEOPLE, ROUNDS)
    with serving(tls=False, rate=RATE) as server, _airflow(server, people) as airflow:
        runs = [_run(airflow, server, dag) for _ in range(rounds) for dag in (OURS, SDK)]
    ours, sdk = ([run for run in runs if run["dag"] == dag] for dag in (OURS, SDK))
    bound = people / RATE
    figures = [
        at_most("duration of the task, over people / rate", median_of(ours, "task") / bound, 1.1, "×"),
        at_most("requests to Airflow's API server per message", median_of(ours, "requests") / people, 0.2),
        exactly("messages sent, all runs together", sum(run["sent"] for run in ours), people * rounds),
        exactly("receipts, all runs together", sum(run["receipts"] for run in ours), people * rounds),
        exactly("calls throttled, all runs together", sum(run["throttled"] for run in ours), 0),
        beside("official SDK in a loop, without receipts: the same duration", median_of(sdk, "task") / bound, "×"),
        beside("official SDK in a loop: calls throttled", sum(run["throttled"] for run in sdk)),
    ]
    note = f"{rounds} runs of each, medians. {RATE} calls a second, 50 ms on the wire. LocalExecutor, SQLite."
    return Result(figures, runs, [note])


@contextmanager
def _airflow(server: Server, people: int) -> Iterator[AirflowStack]:
    connection = connection_to(server.url)
    connection["extra"]["calls_per_second"] = RATE
    with tempfile.TemporaryDirectory() as folder:
        dags, given = Path(folder) / "dags", Path(folder) / "given.json"
        dags.mkdir()
        shutil.copy(Path(__file__).parent / "dags" / "bench_sends.py", dags)
        server.http.post("/_sandbox/people", json={"count": people}).raise_for_status()
        host, names = server.url.partition("://")[2], [f"user{number:03d}" for number in range(1, people + 1)]
        given.write_text(json.dumps({"people": names, "host": host, "token": server.token(), "robot_code": ROBOT_CODE}))
        env = {
            "AIRFLOW_CONN_DINGTALK_DEFAULT": json.dumps(connection),
            "BENCH_SENDS": str(given),
            # The DAGs do not change, so the dag-processor need not parse them again.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3600",
        }
        with AirflowStack(dags, env) as airflow:
            for dag in (OURS, SDK):
                airflow.wait_for_dag(dag)
            yield airflow


def _run(airflow: AirflowStack, server: Server, dag: str) -> dict[str, Any]:
    """Run a DAG and return its figures; ``task`` is the duration of its task in seconds."""
    calls, requests = _calls(server), _requests(airflow)
    run = airflow.api.trigger(dag)
    if airflow.api.wait_run(dag, run, RUN_TIMEOUT) != "success":
        raise RuntimeError(f"{dag} failed")
    (task,) = airflow.api.task_instances(dag, run)
    after = _calls(server)
    done = {
        "dag": dag,
        "task": round(task["duration"], 2),
        "requests": _requests(airflow) - requests,
        "sent": after["sent"] - calls["sent"],
        "throttled": after["throttled"] - calls["throttled"],
        "receipts": airflow.api.xcom(dag, run, "send", "receipts_count") or 0,
    }
    print(f"  {done}", file=sys.stderr, flush=True)
    return done


def _calls(server: Server) -> dict[str, int]:
    found = server.snapshot()
    throttled = found["calls"].get(API, {}).get("throttled", 0)
    return {"sent": sum(kind["sent"] for kind in found["counts"].values()), "throttled": throttled}


def _requests(airflow: AirflowStack) -> int:
    return len(_REQUEST.findall((airflow.home / "api-server.log").read_text(errors="replace")))


ROW = Row("sends", "A message to 1,000 people, one receipt each, in Airflow", measure)
