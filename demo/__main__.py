"""Command of the demo: ``python -m demo``.

A DAG sends messages of every kind, its check fails, and a rollback recalls them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

from dev.airflow_stack import AirflowStack
from dev.processes import Process, stop_all, tail

ROOT = Path(__file__).parents[1]
DAG_ID = "dingtalk_rollback_on_failure"
KINDS = {
    "group": "group messages",
    "oto": "one-on-one messages",
    "private_chat": "private-chat messages",
    "work_notification": "work notifications",
    "ding": "DINGs",
}
MARKS = {"success": "✓", "failed": "✗", "running": "…", "skipped": "-", "upstream_failed": "✗"}

_began = time.monotonic()


def say(text: str) -> None:
    """Print a line for the user, with the seconds since the start."""
    print(f"{time.monotonic() - _began:5.1f} s  {text}", flush=True)


@contextmanager
def running_sandbox(folder: Path) -> Iterator[str]:
    """Run the sandbox in its own process and yield its URL."""
    log = folder / "sandbox.log"
    command = [sys.executable, "-m", "airflow_provider_dingtalk.sandbox", "--port", "0"]
    process = Process("sandbox", command, {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}, log)
    try:
        for _ in range(100):
            if found := re.search(r"listening on (http://\S+)", log.read_text()):
                yield found.group(1)
                return
            process.raise_if_dead()
            time.sleep(0.1)
        raise RuntimeError(f"the sandbox did not start:\n{tail(log)}")
    finally:
        stop_all([process])


class Witness:
    """Poller of the sandbox that keeps the maximum of visible messages."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.most: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._wait_spec, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def snapshot(self) -> dict[str, Any]:
        """Return the counts by kind and the calls by API."""
        found: dict[str, Any] = httpx.get(f"{self._url}/_sandbox/truth", params={"brief": 1}, trust_env=False).json()
        return found

    def _wait_spec(self) -> None:
        while not self._stop.wait(0.3):
            for kind, counts in self.snapshot()["counts"].items():
                self.most[kind] = max(self.most.get(kind, 0), counts["visible"])


class Ticker:
    """Printer of the changes of task states."""

    def __init__(self) -> None:
        self._known: dict[str, str | None] = {}

    def __call__(self, states: dict[str, str | None]) -> None:
        """Print the states that changed since the last call."""
        for task, state in states.items():
            if state in MARKS and self._known.get(task) != state:
                say(f"  {MARKS[state]} {task} {state}")
            self._known[task] = state


def show_messages(before: dict[str, int], after: dict[str, Any]) -> None:
    """Print the number of visible messages before and after the rollback."""
    print(f"\n  {'in the chats of the sandbox':<30}{'before':>10}{'after':>10}")
    for kind, name in KINDS.items():
        print(f"  {name:<30}{before.get(kind, 0):>10}{after['counts'].get(kind, {}).get('visible', 0):>10}")


def show_report(report: dict[str, Any], after: dict[str, Any]) -> None:
    """Print the rollback's report and the calls that the sandbox counted."""
    counts = report["counts"]
    print(
        "\n  report    " + "   ".join(f"{name} {counts[name]}" for name in ("recalled", "failed", "expired", "unknown"))
    )
    recalls = {name: calls["total"] for name, calls in after["calls"].items() if "ecall" in name}
    print(f"  API calls {sum(recalls.values())} to recall {counts['total']} messages:")
    for name, number in recalls.items():
        print(f"            {number} × {name}")


def is_taken_back(counts: dict[str, int] | None) -> bool:
    """Return True if messages of a kind were sent and none is visible."""
    return counts is not None and counts["visible"] == 0 < counts["sent"]


def _dag_folder(parent: Path) -> Path:
    """Make a folder that holds only the demo's DAG.

    Other examples need a newer Airflow than this DAG does.
    """
    folder = parent / "dags"
    folder.mkdir()
    shutil.copy(ROOT / "example_dags" / f"{DAG_ID}.py", folder)
    return folder


def main() -> int:
    """Run the demo.

    :returns: 0 if every message was recalled and the DAG run failed, as it should; 1 otherwise.
    """
    with tempfile.TemporaryDirectory() as folder, running_sandbox(Path(folder)) as sandbox:
        say(f"a local DingTalk listens on {sandbox}")
        connection = {
            "conn_type": "dingtalk",
            "host": sandbox,
            "login": "dingsandbox",
            "password": "sandbox-secret",
            "extra": {"robot_code": "dingsandbox", "agent_id": "1000"},
        }
        env = {"AIRFLOW_CONN_DINGTALK_DEFAULT": json.dumps(connection)}
        with AirflowStack(_dag_folder(Path(folder)), env, say) as airflow, Witness(sandbox) as witness:
            say(f"Airflow runs on {airflow.url}")
            airflow.wait_for_dag(DAG_ID)
            say(f"run of {DAG_ID}: send, check the numbers, roll back")
            run_id = airflow.api.trigger(DAG_ID)
            state = airflow.api.wait_run(DAG_ID, run_id, progress=Ticker())
            report = airflow.api.xcom(DAG_ID, run_id, "rollback", "report")
            after = witness.snapshot()
            show_messages(witness.most, after)
            if report is None:
                raise RuntimeError(f"the rollback left no report: {airflow.api.task_states(DAG_ID, run_id)}")
            show_report(report, after)
            print(f"\n  The run is {state}: its check failed, and a rollback does not make that good.\n")
            gone = all(is_taken_back(after["counts"].get(kind)) for kind in KINDS)
            say("stopping Airflow and the sandbox")
    say("done" if gone and state == "failed" else "NOT as it should be")
    return 0 if gone and state == "failed" else 1


if __name__ == "__main__":
    # SIGTERM stops the demo as Ctrl-C does. Some shells start jobs with SIGINT ignored, so it is set as well.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("stopped")
        sys.exit(130)
