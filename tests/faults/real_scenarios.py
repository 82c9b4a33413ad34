"""Helpers of the scenarios in real Airflow: runs, sandbox state, and kills of a task's process."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from airflow_provider_dingtalk.sandbox.testing import connection_to
from dev.airflow_api import FINISHED
from dev.airflow_stack import AirflowStack
from tests.faults.kill_recalls import DONE
from tests.faults.kill_sandbox import SandboxProcess

DAGS = Path(__file__).parent / "dags"
#: Timeout of one scenario in seconds.
DEADLINE = 400.0
#: Maximum attempts of a clear while Airflow's database is locked.
CLEARS = 10


@contextmanager
def airflow_and_sandbox(
    env: Mapping[str, str], seed: int, *, people: int, faults: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[AirflowStack, SandboxProcess]]:
    """Run Airflow with the DAGs of the scenarios, and a sandbox in a process of its own without a rate limit.

    :param faults: Fault rules of the sandbox.
    """
    begun = time.monotonic()
    with SandboxProcess(seed) as sandbox:
        sandbox.tell("POST", "/people", {"count": people})
        sandbox.faults(*faults)
        connection = connection_to(sandbox.url)
        connection["extra"]["calls_per_second"] = 0
        variables = {**env, "AIRFLOW_CONN_DINGTALK_DEFAULT": json.dumps(connection)}
        with AirflowStack(DAGS, variables, print_step=print) as stack:
            for file in DAGS.glob("*.py"):
                stack.wait_for_dag(file.stem)
            print(f"ready after {time.monotonic() - begun:.0f} s", flush=True)
            yield stack, sandbox


class TaskRun:
    """DAG run, and the process of its task."""

    def __init__(self, stack: AirflowStack, dag_id: str, task_id: str, **conf: Any) -> None:
        self._stack = stack
        self.dag_id = dag_id
        self.task_id = task_id
        self.run_id = stack.api.trigger(dag_id, conf)

    def task(self) -> dict[str, Any]:
        """Return the task instance from Airflow's API."""
        found = self._stack.api.task_instances(self.dag_id, self.run_id)
        return next(one for one in found if one["task_id"] == self.task_id)

    def living(self) -> tuple[int, int] | None:
        """Return pid and try number of the running try, if the scheduler started the process."""
        task = self.task()
        pid = task["pid"]
        ours = task["state"] == "running" and pid in self._stack.processes["scheduler"].members()
        return (pid, task["try_number"]) if ours else None

    def is_over(self) -> bool:
        """Return True if the run is finished."""
        return self._stack.api.run_state(self.dag_id, self.run_id) in FINISHED

    def wait(self) -> str:
        """Wait for the end of the run and return its state."""
        return self._stack.api.wait_run(self.dag_id, self.run_id, DEADLINE)

    def xcom(self, key: str) -> Any:
        """Return an XCom of the task."""
        return self._stack.api.xcom(self.dag_id, self.run_id, self.task_id, key)

    def clear(self) -> None:
        """Clear the task, running or not."""
        body = {"dry_run": False, "dag_run_id": self.run_id, "task_ids": [self.task_id], "only_failed": False}
        for left in reversed(range(CLEARS)):
            try:
                self._stack.api.post(f"/dags/{self.dag_id}/clearTaskInstances", body)
            except RuntimeError:
                # SQLite has one writer at a time and Airflow's lock timeout is short, so the clear is retried.
                if not left:
                    raise
                time.sleep(0.5)
            else:
                return


class ScenarioFixtures:
    """Airflow, the sandbox, and the sum of the figures.

    :param scale: Factor of the size of the large scenarios.
    """

    def __init__(self, stack: AirflowStack, sandbox: SandboxProcess, seed: int, scale: float) -> None:
        self.stack = stack
        self.sandbox = sandbox
        self._rng = random.Random(seed)
        self.scale = scale
        self._sandbox_lock = threading.Lock()
        self.figures = dict.fromkeys(
            ("worker_kills", "triggerer_kills", "lost", "double", "false_recalled", "false_failed", "unknown"), 0
        )
        self.figures |= dict.fromkeys(("deadlocks", "calls", "batches"), 0)
        self.wrong: list[str] = []

    # ── helpers ──

    def must(self, is_so: bool, otherwise: str) -> None:
        """Record ``otherwise`` if an assertion does not hold."""
        if not is_so:
            self.wrong.append(otherwise)

    def count(self, **numbers: int) -> None:
        """Add to the figures."""
        for name, number in numbers.items():
            self.figures[name] += number

    def ask(self, query: Callable[[SandboxProcess], Any]) -> Any:
        """Query the sandbox; a lock admits one scenario at a time."""
        with self._sandbox_lock:
            return query(self.sandbox)

    def calls(self, api: str) -> int:
        """Return the number of requests to an API that arrived."""
        return int(self.ask(lambda sandbox: sandbox.calls(api)))

    def messages(self, **wanted: Any) -> list[dict[str, Any]]:
        """Return the sandbox's messages with these fields."""
        return [
            one
            for one in self.ask(SandboxProcess.messages)
            if all(one[name] == value for name, value in wanted.items())
        ]

    def create_messages(self, kind: str, count: int, conversation: str) -> tuple[list[str], str]:
        """Create messages and return their keys and the file that lists them."""
        order = {"kind": kind, "count": count, "open_conversation_id": conversation}
        keys = self.ask(lambda sandbox: sandbox.tell("POST", "/plant", order))["keys"]
        file = self.stack.home / f"keys-{conversation}.json"
        file.write_text(json.dumps(keys))
        return keys, str(file)

    def until(self, what: str, condition: Callable[[], Any]) -> Any:
        """Poll until a condition is true and return its value.

        :raises TimeoutError: If it does not become true.
        """
        deadline = time.monotonic() + DEADLINE
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(what)
            time.sleep(0.1)
        return found

    def print_progress(self, text: str) -> None:
        """Print a line of progress."""
        print(text, flush=True)

    def run_scenario(self, scenario: Callable[[], None]) -> None:
        """Run one scenario; one that does not end counts as a deadlock."""
        begun = time.monotonic()
        try:
            scenario()
        except TimeoutError as error:
            self.count(deadlocks=1)
            self.wrong.append(f"{scenario.__name__}: {error}")
        except Exception:
            self.wrong.append(f"{scenario.__name__}: {traceback.format_exc(limit=3)}")
        self.print_progress(f"{scenario.__name__}: {time.monotonic() - begun:.0f} s")

    # ── killing ──

    def kill_in_the_middle(self, run: TaskRun, kills: int, share: Callable[[], float]) -> int:
        """Kill the task's process at shares of its progress; return the kills that came in the middle."""
        counted, last_try = 0, 0
        for number in range(kills):
            goal = 0.06 + 0.84 * (number + self._rng.random()) / kills
            ripe = partial(self._ripe, run, last_try, share, goal)
            found = self.until(f"a try at {goal:.0%}", ripe)
            if found == "over":
                break
            pid, last_try = found
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            now = share()
            counted += DONE[0] <= now <= DONE[1]
            self.print_progress(f"{run.dag_id}: killed try {last_try} at {now:.0%}")
        return counted

    @staticmethod
    def _ripe(run: TaskRun, last_try: int, share: Callable[[], float], goal: float) -> Any:
        """Return the running try once it works and the share ``goal`` is done."""
        if run.is_over():
            return "over"
        found = run.living()
        if not found or found[1] == last_try or share() < goal:
            return None
        return found
