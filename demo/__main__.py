"""Command of the demo: ``python -m demo``.

A DAG sends messages of every kind, its check fails, and a rollback recalls them. With ``--keep`` all of it stays until
Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import httpx

from airflow_provider_dingtalk.sandbox.testing import connection_to
from dev.airflow_stack import AirflowStack
from dev.processes import free_port
from dev.sandbox import ROOT, sandbox_process
from dev.steps import print_step, run_until_interrupted
from dev.up import AIRFLOW_PORT, SANDBOX_PORT, keep_running

DAG_ID = "dingtalk_rollback_on_failure"
KINDS = {
    "group": "group messages",
    "oto": "one-on-one messages",
    "private_chat": "private-chat messages",
    "work_notification": "work notifications",
    "ding": "DINGs",
}
MARKS = {"success": "✓", "failed": "✗", "running": "…", "skipped": "-", "upstream_failed": "✗"}
HINT = """
  Look at {airflow}/dags/{dag}:
  the tab "DingTalk messages" of the run, and the log of its task "rollback".
  Trigger the DAG again with a revenue of 1 or more, and the messages stay in the sandbox."""
#: Seconds between two polls of the sandbox.
POLL_INTERVAL = 0.3


class SandboxPoller:
    """Poller of the sandbox that keeps the maximum of visible messages.

    :param url: URL of the sandbox.
    :ivar most_visible: Maximum number of visible messages by kind.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.most_visible: dict[str, int] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def snapshot(self) -> dict[str, Any]:
        """Return the counts by kind and the calls by API."""
        found: dict[str, Any] = httpx.get(f"{self._url}/_sandbox/truth", params={"brief": 1}, trust_env=False).json()
        return found

    def _poll(self) -> None:
        while not self._ended.wait(POLL_INTERVAL):
            for kind, counts in self.snapshot()["counts"].items():
                self.most_visible[kind] = max(self.most_visible.get(kind, 0), counts["visible"])


class TaskStatePrinter:
    """Printer of the changes of task states."""

    def __init__(self) -> None:
        self._known: dict[str, str | None] = {}

    def __call__(self, states: dict[str, str | None]) -> None:
        """Print the states that changed since the last call."""
        for task, state in states.items():
            if state in MARKS and self._known.get(task) != state:
                print_step(f"  {MARKS[state]} {task} {state}")
            self._known[task] = state


def print_messages(before: dict[str, int], after: dict[str, Any]) -> None:
    """Print the number of visible messages before and after the rollback."""
    print(f"\n  {'in the chats of the sandbox':<30}{'before':>10}{'after':>10}")
    for kind, name in KINDS.items():
        print(f"  {name:<30}{before.get(kind, 0):>10}{after['counts'].get(kind, {}).get('visible', 0):>10}")


def print_report(report: dict[str, Any], after: dict[str, Any]) -> None:
    """Print the rollback's report and the calls that the sandbox counted."""
    counts = report["counts"]
    outcomes = "   ".join(f"{name} {counts[name]}" for name in ("recalled", "failed", "expired", "unknown"))
    print(f"\n  report    {outcomes}")
    recalls = {name: calls["total"] for name, calls in after["calls"].items() if "ecall" in name}
    print(f"  API calls {sum(recalls.values())} to recall {counts['total']} messages:")
    for name, number in recalls.items():
        print(f"            {number} × {name}")


def is_recalled(counts: dict[str, int] | None) -> bool:
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


def _is_rolled_back(airflow: AirflowStack, sandbox: SandboxPoller) -> bool:
    """Run the DAG, print what happened, and return True if all of it is as it should be.

    :raises RuntimeError: If the rollback left no report.
    """
    print_step(f"run of {DAG_ID}: send, check the numbers, roll back")
    run_id = airflow.api.trigger(DAG_ID)
    state = airflow.api.wait_run(DAG_ID, run_id, progress=TaskStatePrinter())
    report = airflow.api.xcom(DAG_ID, run_id, "rollback", "report")
    after = sandbox.snapshot()
    print_messages(sandbox.most_visible, after)
    if report is None:
        raise RuntimeError(f"the rollback left no report: {airflow.api.task_states(DAG_ID, run_id)}")
    print_report(report, after)
    print(f"\n  The run is {state}: its check failed, and a rollback does not make that good.\n")
    return state == "failed" and all(is_recalled(after["counts"].get(kind)) for kind in KINDS)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo.

    :returns: 0 if every message was recalled and the DAG run failed, as it should; 1 otherwise.
    """
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave Airflow and the sandbox running until Ctrl-C")
    keep = parser.parse_args(argv).keep
    password = secrets.token_urlsafe(9) if keep else None
    with tempfile.TemporaryDirectory() as folder, sandbox_process(port=free_port(SANDBOX_PORT) if keep else 0) as url:
        print_step(f"the sandbox, a local DingTalk, listens on {url}")
        env = {"AIRFLOW_CONN_DINGTALK_DEFAULT": json.dumps(connection_to(url))}
        port = free_port(AIRFLOW_PORT) if keep else 0
        with AirflowStack(_dag_folder(Path(folder)), env, print_step, port=port, password=password) as airflow:
            print_step(f"Airflow listens on {airflow.url}; waiting until it has read the DAG")
            airflow.wait_for_dag(DAG_ID)
            with SandboxPoller(url) as sandbox:
                done = _is_rolled_back(airflow, sandbox)
            print_step("done" if done else "NOT as it should be")
            if password:
                print(HINT.format(airflow=airflow.url, dag=DAG_ID))
                keep_running(airflow, url, password)
            print_step("stopping Airflow and the sandbox")
    return 0 if done else 1


if __name__ == "__main__":
    run_until_interrupted(main)
