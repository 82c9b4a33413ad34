"""Row ``triggerer``: 2,000 deferred sensors in a real triggerer.

They are compared with triggers that look up their own connection, and with ``HttpSensor``. The real triggers run
in the triggerer process of a real Airflow. 2,000 mapped tasks are set to deferred in its database (see
:mod:`benchmarks.triggerer_rows`). The connections are in that database, so look-ups work as in production.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_provider_dingtalk.sandbox.testing import connection_to
from benchmarks.meters import processor_seconds_of, resident_bytes_of
from benchmarks.results import Result, Row, at_least, beside, exactly
from benchmarks.server import LATENCY, Server, serving
from dev.airflow_stack import AirflowStack

WAITS = 2_000
DAG, POOL = "bench_waits", "unused"
CONN_ID, HTTP_CONN_ID = "dingtalk_default", "bench_http"
POLL_INTERVAL = 30.0
#: Seconds in which CPU and memory are measured, a multiple of POLL_INTERVAL.
WINDOW = 60.0
#: Seconds; with a look-up each, 2,000 triggers take 140 s until they are ready, and more on a slow machine.
TIMEOUT = 900.0
BACKEND = "benchmarks.counting.CountingBackend"


def measure(quick: bool) -> Result:
    """Measure three kinds of trigger in one Airflow, one kind after the other."""
    waits, window = (200, POLL_INTERVAL) if quick else (WAITS, WINDOW)
    with (
        serving(latency=LATENCY, tls=False) as server,
        tempfile.TemporaryDirectory() as folder,
        AirflowStack(_dags(Path(folder)), _environment(Path(folder), waits)) as airflow,
    ):
        bench = _TriggererBench(airflow, server, Path(folder), waits, window)
        bench.work("prepare", connection=_connection(server), url=server.url)
        airflow.wait_for_dag(DAG)
        idle = bench.meter(10.0)
        runs = {name: bench.run(name) for name in ("each", "shared", "http")}
    shared, each, http = runs["shared"], runs["each"], runs["http"]
    figures = [
        exactly("triggers that fired", shared["fired"], waits),
        exactly("connection look-ups that reached Airflow's supervisor", shared["lookups"], 1),
        at_least("sooner ready than with a look-up each", each["ready"] / shared["ready"], 8, "×"),
        beside("all ready, shared look-up", shared["ready"], "s"),
        beside("all ready, a look-up each", each["ready"], "s"),
        beside("since they were deferred, shared look-up", shared["ready_since_deferred"], "s"),
        beside("since they were deferred, a look-up each", each["ready_since_deferred"], "s"),
        beside("look-ups, a look-up each", each["lookups"]),
        beside("CPU of the idle triggerer, of a core", idle["cpu_percent"], "%"),
    ]
    for name, run in {"ours": shared, "HttpSensor(deferrable=True)": http}.items():
        figures += [
            beside(f"{name}: CPU of the triggerer, of a core", run["cpu_percent"], "%"),
            beside(f"{name}: its memory over that of the idle one", (run["bytes"] - idle["bytes"]) / 2**20, "MiB"),
            beside(f"{name}: polls, of those due", run["done_percent"], "%"),
            beside(f"{name}: look-ups while it waits", run["lookups_in_window"]),
        ]
    note = (
        f"One run; {waits:,} waits, a poll each per {POLL_INTERVAL:.0f} s, {LATENCY * 1000:.0f} ms, plain HTTP. "
        "Deferred task instances and triggers were written into Airflow's database, not deferred by 2,000 workers; the "
        "triggerer may take all in one loop (`max_trigger_to_select_per_loop`; by default 50 a second). "
        "All ready: from the first trigger's begin to the last one's client; Airflow takes longer to make them."
    )
    return Result(figures, [idle, *runs.values()], [note])


class _TriggererBench:
    """Benchmark run: an Airflow, a server, and the meters of the triggerer."""

    def __init__(self, airflow: AirflowStack, server: Server, folder: Path, waits: int, window: float) -> None:
        self.airflow, self.server, self.folder, self.waits, self.window = airflow, server, folder, waits, window

    def run(self, variant: str) -> dict[str, Any]:
        """Run one kind of trigger and return its figures."""
        for name in ("begun", "ready", "lookups"):
            (self.folder / name).write_text("")
        run_id, keys = self.airflow.api.trigger(DAG), self.server.create_messages(self.waits)
        self._until(lambda: self._states(run_id)["states"].get("scheduled", 0) >= self.waits, "tasks")
        began = self.work("defer", run_id=run_id, keys=keys, variant=variant, poke_interval=POLL_INTERVAL)["at"]
        done = {"variant": variant, **(self._wait_until_polled() if variant == "http" else self._ready(began))}
        done["lookups"] = self._lookups()
        if variant != "each":
            polls = self._polls()
            done |= self.meter(self.window)
            done["done_percent"] = round(100 * (self._polls() - polls) / (self.waits * self.window / POLL_INTERVAL), 1)
            done["lookups_in_window"] = self._lookups() - done["lookups"]
        if variant == "shared":
            for key in keys:
                self.server.http.post("/_sandbox/read", json={"key": key, "count": 1}).raise_for_status()
            self._until(lambda: self._states(run_id)["states"].get("deferred", 0) == 0, "events")
            done["fired"] = self._states(run_id)["met"]
        self.work("end", run_id=run_id)
        self._until(self._is_quiet, "the triggerer's rest")
        print(f"  {done}", file=sys.stderr, flush=True)
        return done

    def _ready(self, began: float) -> dict[str, Any]:
        self._until(lambda: len(self._moments("ready")) >= self.waits, "ready triggers")
        first, last = min(self._moments("begun")), max(self._moments("ready"))
        return {"ready": round(last - first, 2), "ready_since_deferred": round(last - began, 2)}

    def _wait_until_polled(self) -> dict[str, Any]:
        before = self._polls()
        self._until(lambda: self._polls() - before >= self.waits, "polls")
        return {}

    def meter(self, seconds: float) -> dict[str, Any]:
        """Measure CPU and memory of the triggerer's processes for some seconds."""
        pids = self.airflow.processes["triggerer"].members()
        used, began = processor_seconds_of(pids), time.monotonic()
        time.sleep(seconds)
        taken = (processor_seconds_of(pids) - used) / (time.monotonic() - began)
        return {"cpu_percent": round(100 * taken, 2), "bytes": resident_bytes_of(pids)}

    def work(self, name: str, **given: Any) -> Any:
        """Run a function of :mod:`benchmarks.triggerer_rows` in a new process.

        :raises RuntimeError: If it fails.
        """
        command = [sys.executable, "-m", "benchmarks.triggerer_rows", name]
        # Without the counting backend, so its look-ups are not counted as the triggerer's.
        env = {key: value for key, value in self.airflow.env.items() if "SECRETS__BACKEND" not in key}
        done = subprocess.run(
            command, input=json.dumps(given) + "\n", capture_output=True, text=True, check=False, env=env
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        return json.loads(done.stdout.splitlines()[-1])

    def _states(self, run_id: str) -> Any:
        return self.work("states", run_id=run_id)

    def _moments(self, name: str) -> list[float]:
        # The last line may be incomplete.
        return [float(line) for line in (self.folder / name).read_text().split("\n")[:-1]]

    def _lookups(self) -> int:
        """Count the look-ups of our connections in the supervisor, the triggerer's first process."""
        lines = (self.folder / "lookups").read_text().splitlines()
        asked = Counter(line.split()[0] for line in lines if line.split()[1] in (CONN_ID, HTTP_CONN_ID))
        return asked[str(self.airflow.processes["triggerer"].pid)]

    def _polls(self) -> int:
        calls = self.server.snapshot()["calls"]
        return sum(calls.get(api, {"total": 0})["total"] for api in ("robot/oToMessages/readStatus", "?"))

    def _is_quiet(self) -> bool:
        before = self._polls()
        time.sleep(3.0)
        return self._polls() == before

    def _until(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not is_so():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: {self.airflow.logs()}")
            time.sleep(0.2)


def _dags(folder: Path) -> Path:
    dags = folder / "dags"
    dags.mkdir()
    shutil.copy(Path(__file__).parent / "dags" / f"{DAG}.py", dags)
    return dags


def _connection(server: Server) -> dict[str, Any]:
    connection = connection_to(server.url)
    connection["extra"]["calls_per_second"] = 0
    return connection


def _environment(folder: Path, waits: int) -> dict[str, str]:
    return {
        "BENCH_WAITS": str(waits),
        "BENCH_BEGUN": str(folder / "begun"),
        "BENCH_READY": str(folder / "ready"),
        "BENCH_LOOKUPS": str(folder / "lookups"),
        "AIRFLOW__SECRETS__BACKEND": BACKEND,
        "AIRFLOW__TRIGGERER__CAPACITY": str(2 * waits),
        "AIRFLOW__TRIGGERER__MAX_TRIGGER_TO_SELECT_PER_LOOP": str(2 * waits),
        "AIRFLOW__CORE__MAX_MAP_LENGTH": str(2 * waits),
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": str(2 * waits),
        # The DAG does not change, so the dag-processor need not parse it again.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3600",
    }


ROW = Row("triggerer", "2,000 deferred sensors in a real Airflow triggerer", measure)
