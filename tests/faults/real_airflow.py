"""Kills, clears, signals and timeouts in real Airflow: ``python -m tests.faults.real_airflow``.

Airflow runs as API server, scheduler with LocalExecutor, dag-processor and triggerer; the sandbox runs in its own
process. The command prints its progress, and one line of figures at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tests.conftest  # noqa: F401 -- sets Airflow's surroundings before it is imported
from airflow_provider_dingtalk.jobs.recall import WORKERS
from airflow_provider_dingtalk.sandbox.default import GROUPS, PRIVATE_CHAT
from tests.faults.kill_recalls import BATCH
from tests.faults.kill_sandbox import SEND_API
from tests.faults.real_scenarios import ScenarioFixtures, TaskRun, airflow_and_sandbox

MANY_KEYS, MANY_USERS = 10_000, 2_000
WORKER_KILLS, SEND_KILLS, TRIGGERER_KILLS = 12, 3, 2
#: Fault rules that slow calls down, so kills come in the middle.
LATENCY = (
    {"match": "groupMessages/recall", "action": {"type": "delay", "seconds": 0.15}},
    {"match": "privateChatMessages/batchRecall", "action": {"type": "delay", "seconds": 1.0}},
    {"match": SEND_API, "action": {"type": "delay", "seconds": 0.005}},
)
ENV = {
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3600",
    "AIRFLOW__CORE__PARALLELISM": "8",
}


class Scenarios(ScenarioFixtures):
    """Scenarios in real Airflow."""

    # ── recalls ──

    def recall_is_exact(self, run: TaskRun, keys: list[str], interruptions: int, api: str, calls: int) -> None:
        """Check that every outcome is true, and that calls are at most batches plus those in flight."""
        report: Mapping[str, Any] = run.xcom("report")
        counts = report["counts"]
        gone = {one["key"] for one in self.messages() if one["recalled_at"] is not None} & set(keys)
        classes = {name: set(report[name]) for name in ("failed", "expired", "unknown")}
        self.count(
            lost=abs(counts["total"] - len(keys))
            + abs(sum(counts[name] for name in (*classes, "recalled")) - len(keys)),
            false_recalled=max(0, counts["recalled"] - len(gone)),
            false_failed=len((classes["failed"] | classes["expired"]) & gone),
            unknown=counts["unknown"],
            calls=calls,
            batches=len(keys) // BATCH,
        )
        self.must(len(gone) == len(keys), f"{run.dag_id}: {len(keys) - len(gone)} of {len(keys)} are still there")
        limit = len(keys) // BATCH + WORKERS * interruptions
        self.must(calls <= limit, f"{run.dag_id}: {calls} calls to {api}, of at most {limit}")
        self.print_progress(f"{run.dag_id}: {counts}, {calls} calls for {len(keys) // BATCH} batches")

    def recall_under_kills(self) -> None:
        """Kill the worker in the middle of 10,000 keys."""
        keys, file = self.create_messages("group", int(MANY_KEYS * self.scale), GROUPS[0])
        api, before = "robot/groupMessages/recall", self.calls("robot/groupMessages/recall")
        run = TaskRun(self.stack, "fault_recall", "recall", file=file, group=GROUPS[0])
        kills = self.kill_in_the_middle(
            run, WORKER_KILLS, lambda: self.ask(lambda one: one.share("group", "recalled", len(keys)))
        )
        self.count(worker_kills=kills)
        self.must(kills >= WORKER_KILLS, f"{kills} kills of the recall landed in the middle")
        self.must(run.wait() == "success", f"the recall ended {run.task()['state']}")
        calls = self.calls(api) - before
        self.recall_is_exact(run, keys, run.task()["try_number"] - 1, api, calls)

    def recall_cleared_while_running(self) -> None:
        """Clear the task in the middle; the old try is superseded, the new one resumes."""
        keys, file = self.create_messages("group", int(MANY_KEYS * self.scale / 4), GROUPS[1])
        api = "robot/groupMessages/recall"
        before = self.calls(api)
        run = TaskRun(self.stack, "fault_recall", "recall", file=file, group=GROUPS[1])
        some = len(keys) // BATCH // 4
        self.until("calls", lambda: run.living() and self.calls(api) - before > some)
        run.clear()
        self.must(run.wait() == "success", f"the cleared recall ended {run.task()['state']}")
        calls = self.calls(api) - before
        self.recall_is_exact(run, keys, 1, api, calls)

    def recall_with_timeouts(self) -> None:
        """Run tries with ``execution_timeout`` until the recall is done."""
        keys, file = self.create_messages("private_chat", 2000, PRIVATE_CHAT)
        api = "robot/privateChatMessages/batchRecall"
        run = TaskRun(self.stack, "fault_recall_timeout", "recall", file=file)
        self.must(run.wait() == "success", f"the recall with a time limit ended {run.task()['state']}")
        tries = run.task()["try_number"]
        self.must(tries > 1, "no try ran into its time limit")
        self.recall_is_exact(run, keys, tries - 1, api, self.calls(api))

    # ── sends ──

    def send_is_exact(self, run: TaskRun, text: str, users: int, doubtful: int) -> None:
        """Check that each message has a receipt or is unknown, and a rollback leaves only unknown ones."""
        sent, unknown = self.messages(text=text), run.xcom("unknown") or []
        receipts = [
            receipt["process_query_key"]
            for number in range(users // 100 + 1)
            for receipt in run.xcom(f"receipts_{number}") or []
        ]
        orphans = len({one["key"] for one in sent} - set(receipts))
        left = sum(one["recalled_at"] is None for one in sent)
        self.count(
            lost=max(0, orphans - len(unknown)) + max(0, users - len(sent) - len(unknown)),
            double=max(0, len(sent) - users),
            unknown=len(unknown),
        )
        self.must(set(receipts) <= {one["key"] for one in sent}, "a receipt of nothing")
        self.must(len(receipts) + len(unknown) == users, f"{len(receipts)} receipts and {len(unknown)} unknown")
        self.must(len(unknown) <= doubtful, f"{len(unknown)} unknown, of at most {doubtful}")
        self.must(left == orphans, f"{left} are left after the rollback, {orphans} have no receipt")
        self.print_progress(
            f"fault_send: {len(sent)} sent, {len(receipts)} receipts, {len(unknown)} unknown, {left} left"
        )

    def send_under_kills(self) -> None:
        """Kill the worker in the middle of 2,000 one-on-one sends."""
        users, text = int(MANY_USERS * self.scale), "under kills"
        run = TaskRun(self.stack, "fault_send", "send", users=users, text=text)
        # No other scenario sends at this time.
        kills = self.kill_in_the_middle(run, SEND_KILLS, lambda: self.ask(lambda one: one.share("oto", "sent", users)))
        self.count(worker_kills=kills)
        self.must(kills >= SEND_KILLS, f"{kills} kills of the send landed in the middle")
        run.wait()
        self.send_is_exact(run, text, users, kills * WORKERS)

    def send_under_sigterm(self) -> None:
        """Send SIGTERM to the task's process; the next try must send the rest."""
        users, text = 200, "under SIGTERM"
        before = self.calls(SEND_API)
        run = TaskRun(self.stack, "fault_send", "send", users=users, text=text)
        pid, _ = self.until("a send", lambda: self.calls(SEND_API) > before + users // 5 and run.living())
        os.kill(pid, signal.SIGTERM)
        self.must(run.wait() == "success", f"the send after SIGTERM ended {run.task()['state']}")
        self.must(run.task()["try_number"] == 2, f"SIGTERM: {run.task()['try_number']} tries")
        self.send_is_exact(run, text, users, 0)

    # ── sensors ──

    def sensor_under_kills(self) -> None:
        """Kill the triggerer under a waiting sensor; the sensor must still end."""
        keys, _ = self.create_messages("group", 1, GROUPS[2])
        api = "robot/groupMessages/query"
        run = TaskRun(self.stack, "fault_sensor", "wait", key=keys[0])
        for _ in range(TRIGGERER_KILLS):
            # The first poll is the worker's.
            self._wait_for_polls(api, 2)
            self.must(run.task()["state"] == "deferred", f"the sensor is {run.task()['state']}")
            self.stack.processes["triggerer"].kill()
            self.count(triggerer_kills=1)
            self.print_progress("fault_sensor: killed the triggerer")
            self.stack.start("triggerer")
        self._wait_for_polls(api, 1)
        self.ask(lambda one: one.tell("POST", "/read", {"key": keys[0], "count": 2}))
        self.must(run.wait() == "success", f"the sensor ended {run.task()['state']}")

    def _wait_for_polls(self, api: str, more: int) -> None:
        seen = self.calls(api)
        self.until("a poll", lambda: self.calls(api) >= seen + more)

    def run(self) -> None:
        """Run all scenarios: recalls, sends and the sensor in parallel."""
        lanes: list[list[Callable[[], None]]] = [
            [self.recall_under_kills, self.recall_cleared_while_running, self.recall_with_timeouts],
            [self.send_under_kills, self.send_under_sigterm],
            [self.sensor_under_kills],
        ]
        with ThreadPoolExecutor(len(lanes)) as pool:
            list(pool.map(self._play_lane, lanes))

    def _play_lane(self, lane: list[Callable[[], None]]) -> None:
        for scenario in lane:
            self.run_scenario(scenario)


def run_all(seed: int = 1, scale: float = 1.0) -> dict[str, Any]:
    """Run all scenarios and return the figures; ``wrong`` must be empty.

    :param scale: Factor of the size of the large scenarios; default 1.
    """
    begun = time.monotonic()
    with airflow_and_sandbox(ENV, seed, people=MANY_USERS, faults=LATENCY) as (stack, sandbox):
        job = Scenarios(stack, sandbox, seed, scale)
        job.run()
    return {**job.figures, "wrong": job.wrong, "seconds": round(time.monotonic() - begun, 1), "seed": seed}


def main(argv: list[str] | None = None) -> int:
    """Run the scenarios and return 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.real_airflow", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--out", type=Path, help="where to write the figures, too")
    options = parser.parse_args(argv)
    figures = run_all(options.seed, options.scale)
    print(json.dumps(figures))
    if options.out:
        options.out.write_text(json.dumps(figures))
    return bool(figures["wrong"])


if __name__ == "__main__":
    sys.exit(main())
