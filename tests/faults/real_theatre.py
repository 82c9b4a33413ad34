"""Runs in real Airflow, the truth in the sandbox, and how a task's process is killed between the two."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from demo.airflow_api import FINISHED
from demo.airflow_stack import AirflowStack
from tests.faults.kill_recalls import DONE
from tests.faults.kill_sandbox import SandboxProcess

#: Seconds for one scene.
DEADLINE = 400.0
#: Times that a clear is ordered, if Airflow's database does not take it.
CLEARS = 10


class Run:
    """A run of a DAG, and the process of its task."""

    def __init__(self, stack: AirflowStack, dag_id: str, task_id: str, **conf: Any) -> None:
        self._stack = stack
        self.dag_id = dag_id
        self.task_id = task_id
        self.run_id = stack.api.trigger(dag_id, conf)

    def task(self) -> dict[str, Any]:
        """The task instance as Airflow shows it."""
        found = self._stack.api.task_instances(self.dag_id, self.run_id)
        return next(one for one in found if one["task_id"] == self.task_id)

    def living(self) -> tuple[int, int] | None:
        """Process id and number of the try that runs now, of a process that the scheduler started."""
        task = self.task()
        pid = task["pid"]
        ours = task["state"] == "running" and pid in self._stack.processes["scheduler"].members()
        return (pid, task["try_number"]) if ours else None

    def is_over(self) -> bool:
        """Whether it is finished."""
        return self._stack.api.run_state(self.dag_id, self.run_id) in FINISHED

    def wait(self) -> str:
        """The state it ends in."""
        return self._stack.api.wait_run(self.dag_id, self.run_id, DEADLINE)

    def xcom(self, key: str) -> Any:
        """An XCom of the task."""
        return self._stack.api.xcom(self.dag_id, self.run_id, self.task_id, key)

    def clear(self) -> None:
        """Clear the task, running or not."""
        body = {"dry_run": False, "dag_run_id": self.run_id, "task_ids": [self.task_id], "only_failed": False}
        for left in reversed(range(CLEARS)):
            try:
                self._stack.api.post(f"/dags/{self.dag_id}/clearTaskInstances", body)
            except RuntimeError:
                # SQLite has one writer at a time, and Airflow does not wait for long.
                if not left:
                    raise
                time.sleep(0.5)
            else:
                return


class Theatre:
    """Airflow, the sandbox, and what the scenes add up to.

    :param scale: Size of the large scenes.
    """

    def __init__(self, stack: AirflowStack, sandbox: SandboxProcess, seed: int, scale: float) -> None:
        self.stack = stack
        self.sandbox = sandbox
        self._rng = random.Random(seed)
        self.scale = scale
        self._door = threading.Lock()
        self.figures = dict.fromkeys(
            ("worker_kills", "triggerer_kills", "lost", "double", "false_recalled", "false_failed", "unknown"), 0
        )
        self.figures |= dict.fromkeys(("deadlocks", "calls", "batches"), 0)
        self.wrong: list[str] = []

    # ── help ──

    def must(self, is_so: bool, otherwise: str) -> None:
        """Something that must be."""
        if not is_so:
            self.wrong.append(otherwise)

    def count(self, **numbers: int) -> None:
        """Add to the figures."""
        for name, number in numbers.items():
            self.figures[name] += number

    def ask(self, look: Callable[[SandboxProcess], Any]) -> Any:
        """Ask the sandbox, one scene at a time."""
        with self._door:
            return look(self.sandbox)

    def calls(self, api: str) -> int:
        """Requests to an API that arrived."""
        return int(self.ask(lambda sandbox: sandbox.calls(api)))

    def messages(self, **wanted: Any) -> list[dict[str, Any]]:
        """Messages in the truth with such fields."""
        return [
            one
            for one in self.ask(SandboxProcess.messages)
            if all(one[name] == value for name, value in wanted.items())
        ]

    def plant(self, kind: str, count: int, conversation: str) -> tuple[list[str], str]:
        """Messages; their keys, and the file that names them."""
        order = {"kind": kind, "count": count, "open_conversation_id": conversation}
        keys = self.ask(lambda sandbox: sandbox.tell("POST", "/plant", order))["keys"]
        file = self.stack.home / f"keys-{conversation}.json"
        file.write_text(json.dumps(keys))
        return keys, str(file)

    def until(self, what: str, condition: Callable[[], Any]) -> Any:
        """Look until something is so.

        :raises TimeoutError: It did not become so.
        """
        deadline = time.monotonic() + DEADLINE
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(what)
            time.sleep(0.1)
        return found

    def say(self, text: str) -> None:
        """For whoever watches."""
        print(text, flush=True)

    def scene(self, play: Callable[[], None]) -> None:
        """Play one scene; one that does not end is a deadlock."""
        begun = time.monotonic()
        try:
            play()
        except TimeoutError as error:
            self.count(deadlocks=1)
            self.wrong.append(f"{play.__name__}: {error}")
        except Exception:
            self.wrong.append(f"{play.__name__}: {traceback.format_exc(limit=3)}")
        self.say(f"{play.__name__}: {time.monotonic() - begun:.0f} s")

    # ── killing ──

    def kill_in_the_middle(self, run: Run, kills: int, share: Callable[[], float]) -> int:
        """SIGKILL the task's process at shares spread over its progress; how many landed in the middle."""
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
            self.say(f"{run.dag_id}: killed try {last_try} at {now:.0%}")
        return counted

    @staticmethod
    def _ripe(run: Run, last_try: int, share: Callable[[], float], goal: float) -> Any:
        """The living try, once it was seen to work and so much is done."""
        if run.is_over():
            return "over"
        found = run.living()
        if not found or found[1] == last_try or share() < goal:
            return None
        return found
