"""Faults and load on a cluster: ``python -m tests.cluster [--only SCENARIO …] [--full] [--accounts]``.

It prints a line for each row; the last line is one JSON object of figures. The exit status is 1 if a figure does not
hold. A scenario is a function of a :class:`~tests.cluster.work.Lane`: scenarios of one step run side by side, each on
a worker and a sandbox of its own.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import tests.conftest  # noqa: F401 -- sets Airflow's surroundings before it is imported
from airflow_provider_dingtalk.sandbox.testing import connection_to
from dev.cluster import WORKERS, Cluster
from dev.sandbox import ROOT
from dev.steps import print_step, run_until_interrupted
from tests.cluster import faults, load
from tests.cluster.accounts import Row, failures, summary
from tests.cluster.backends import other_backends
from tests.cluster.work import Lane, connections
from tests.faults.kill_sandbox import SandboxProcess

#: Scenarios of a lane by name.
Lanes = Mapping[str, Callable[[Lane], list[Row]]]
DAGS = (
    ROOT / "tests/cluster/dags/cluster_work.py",
    ROOT / "tests/cluster/dags/cluster_load.py",
    ROOT / "example_dags/dingtalk_rollback_on_failure.py",
    ROOT / "example_dags/dingtalk_incident_rollback.py",
    ROOT / "example_dags/dingtalk_wait_until_read.py",
    ROOT / "tests/cluster/dags/cluster_sweep.py",
)
#: The last DAG of each file.
DAG_IDS = ("block_0_worker-2", "sensors_worker-2", *(file.stem for file in DAGS[2:5]), "sweep")
#: Sensors: 300 tasks do not fit into 15 minutes.
SENSORS, FULL_SENSORS = 24, 300
#: Runs that a search looks through, and messages of each.
RUNS, MESSAGES = (120, 480), (1, 10)
ENV = {
    "AIRFLOW__API__MAXIMUM_PAGE_LIMIT": "1000",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3600",
}


def steps(sensors: int) -> list[tuple[Lanes, Lanes]]:
    """Return the scenarios of both lanes by name; a step begins when the one before has ended."""
    recalls = {
        f"recalls-{window}": partial(load.four_recalls, window=window, with_redis=False)
        for window in ("fixed", "sliding")
    }
    since = {"since": partial(load.since, runs=RUNS, people=MESSAGES)}
    with_redis = {f"{name}-redis": partial(recall, with_redis=True) for name, recall in recalls.items()}
    return [
        (
            {
                "cut-30": partial(faults.under, faults.REFUSED_30),
                "hole-30": partial(faults.under, faults.HELD_30),
                "blocks": partial(faults.blocks_under, faults.REFUSED_30),
            },
            {
                "cut-12": partial(faults.under, faults.REFUSED_12),
                "cut-90": partial(faults.under, faults.REFUSED_90),
            },
        ),
        # Both lanes meet both faults, which is more than the promise.
        (
            {"api-server": partial(faults.under, faults.API_SERVER_RESTARTED)},
            {"scheduler": partial(faults.under, faults.SCHEDULER_KILLED)},
        ),
        (
            {"postgres": partial(faults.under, faults.POSTGRES_RESTARTED)},
            {"redis": partial(faults.under, faults.REDIS_RESTARTED)},
        ),
        (
            {
                "worker-killed": faults.worker_killed,
                "task-killed": partial(faults.under, faults.TASK_KILLED),
                # Its bound is the rate, which leaves time for sensors that wait in triggerers.
                "full-send": load.full_send,
            },
            {"sensors": partial(load.sensors, count=sensors)},
        ),
        # Nothing beside them: their figures are of speed.
        ({**since, **recalls, **with_redis, "backends": other_backends}, {}),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the scenarios and return 1 if a figure does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("--full", action="store_true", help=f"{FULL_SENSORS} sensors")
    parser.add_argument("--accounts", action="store_true", help="figures of speed do not change the exit status")
    parser.add_argument("--only", nargs="+", metavar="SCENARIO", help="names of scenarios; default all")
    parser.add_argument("--scale", type=float, default=1.0, help="factor of the keys and people that meet a fault")
    parser.add_argument("--logs", type=Path, help="new folder to copy Airflow's logs into")
    parser.add_argument("--seed", type=int, default=1, help="seed of the sandboxes' keys")
    options = parser.parse_args(argv)
    chosen = steps(FULL_SENSORS if options.full else SENSORS)
    names = [name for step in chosen for lane in step for name in lane]
    options.only = options.only or names
    if unknown := set(options.only) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; expected: {', '.join(names)}")
    began = time.monotonic()
    rows = run(chosen, options)
    print(json.dumps(summary(rows) | {"seconds": round(time.monotonic() - began), "seed": options.seed}))
    return bool(failures(rows, accounts_only=options.accounts))


def run(chosen: Sequence[tuple[Lanes, Lanes]], options: argparse.Namespace) -> list[Row]:
    """Start the cluster, run the scenarios that the options name, and return their rows."""
    rows: list[Row] = []
    with ExitStack() as stack:
        # The pool waits for its scenarios after the cluster has ended, so that an interrupted command ends soon.
        pool = stack.enter_context(ThreadPoolExecutor(len(WORKERS)))
        cluster, lanes = _start(stack, options)
        if options.logs:
            stack.callback(shutil.copytree, cluster.home, options.logs)
        for step in chosen:
            played = pool.map(lambda lane, some: _play(lane, some, options.only), lanes, step)
            rows += [row for of_lane in played for row in of_lane]
    return rows


def _start(stack: ExitStack, options: argparse.Namespace) -> tuple[Cluster, list[Lane]]:
    """Start a sandbox for each worker, and the cluster."""
    sandboxes = [stack.enter_context(SandboxProcess(options.seed + number)) for number in range(len(WORKERS))]
    dags = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    for file in DAGS:
        shutil.copy(file, dags)
    env = dict(ENV)
    for host, sandbox in zip(WORKERS, sandboxes, strict=True):
        env |= connections(host, sandbox.url)
    env["AIRFLOW_CONN_SHARED"] = json.dumps(connection_to(sandboxes[0].url))
    cluster = stack.enter_context(Cluster(dags, env, print_step))
    for dag_id in DAG_IDS:
        cluster.wait_for_dag(dag_id)
    print_step("ready")
    return cluster, [Lane(cluster, *place, options.scale) for place in zip(WORKERS, sandboxes, strict=True)]


def _play(lane: Lane, scenarios: Lanes, names: Sequence[str]) -> list[Row]:
    """Run the scenarios of one lane one after the other; an error is a row that does not hold."""
    rows: list[Row] = []
    for name, scenario in scenarios.items():
        if name not in names:
            continue
        began = time.monotonic()
        try:
            found = scenario(lane)
        except Exception:
            found = [Row(name=name, wrong=[traceback.format_exc(limit=4)])]
        print_step("\n".join([f"{name} took {time.monotonic() - began:.0f} s", *(row.line() for row in found)]))
        rows += found
    return rows


if __name__ == "__main__":
    run_until_interrupted(main)
