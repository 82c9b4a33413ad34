"""Many deferred sensors in real Airflow, with one triggerer."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import psutil

from airflow_provider_dingtalk.sandbox.default import GROUPS
from dev.airflow_stack import AirflowStack
from tests.faults.kill_sandbox import SandboxProcess
from tests.faults.real_scenarios import ScenarioFixtures, TaskRun

GROUP_QUERY = "robot/groupMessages/query"
#: Maximum age of the triggerer's heartbeat in seconds; Airflow's default for a healthy triggerer.
HEARTBEAT_AGE = 30.0
#: Timeout in seconds until all sensors are deferred, or have succeeded: each takes a task process twice.
SENSORS_TIMEOUT = 2400.0


class Sensors(ScenarioFixtures):
    """Sensors that wait in one triggerer.

    :param minutes: Time for which all of them must stay deferred.
    :param sleep: Waits a number of seconds between two looks; default :func:`time.sleep`.
    """

    def __init__(
        self,
        stack: AirflowStack,
        sandbox: SandboxProcess,
        seed: int,
        number: int,
        minutes: float,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(stack, sandbox, seed, 1.0)
        self._number = number
        self._sleep = sleep
        self._seconds = minutes * 60
        self.figures = dict.fromkeys(("sensors", "fired", "triggerer_restarts", "polls", "heartbeat_age"), 0)
        self.figures |= dict.fromkeys(("deadlocks", "seconds_until_deferred", "deferred_seconds", "seconds_to_fire"), 0)

    def run(self) -> None:
        """Keep the sensors deferred, then let each message be read."""
        keys, file = self.create_messages("group", self._number, GROUPS[0])
        run = TaskRun(self.stack, "fault_sensors", "wait", file=file)
        begun = time.monotonic()
        self._wait_for(run, "deferred", "seconds_until_deferred")
        triggerer = self._triggerer()
        self._watch(run, triggerer)
        for key in keys:
            self.ask(lambda one, key=key: one.tell("POST", "/read", {"key": key, "count": 1}))
        self._wait_for(run, "success", "seconds_to_fire")
        states = self._states(run)
        self.count(sensors=len(keys), fired=states["success"], triggerer_restarts=self._triggerer() != triggerer)
        self.must(states == {"success": len(keys)}, f"the sensors ended {dict(states)}")
        self.must(self._triggerer() == triggerer, "the triggerer is another one")
        self.must(run.wait() == "success", "the run of the sensors failed")
        self.print_progress(f"fault_sensors: {dict(states)} after {time.monotonic() - begun:.0f} s")

    def _states(self, run: TaskRun) -> Counter[str]:
        """Count the sensors by state."""
        found = self.stack.api.task_instances(run.dag_id, run.run_id)
        return Counter(str(one["state"]) for one in found if one["task_id"] == run.task_id and one["map_index"] >= 0)

    def _triggerer(self) -> set[int]:
        """Return the pids of the triggerer and of its children."""
        pid = self.stack.processes["triggerer"].pid
        return {pid, *(child.pid for child in psutil.Process(pid).children())}

    def _wait_for(self, run: TaskRun, state: str, figure: str) -> None:
        """Wait until all sensors are in a state, and count the seconds that it took."""
        begun = told = time.monotonic()
        while (states := self._states(run))[state] < self._number and not run.is_over():
            self.stack.raise_if_dead()
            now = time.monotonic()
            if now - begun > SENSORS_TIMEOUT:
                raise TimeoutError(f"{state}: {dict(states)} after {SENSORS_TIMEOUT:.0f} s")
            if now - told > 30:
                told = now
                self.print_progress(f"fault_sensors: {dict(states)} after {now - begun:.0f} s")
            self._sleep(2)
        self.count(**{figure: round(time.monotonic() - begun)})
        self.must(states[state] == self._number, f"waited for {state}: {dict(states)}")

    def _watch(self, run: TaskRun, triggerer: set[int]) -> None:
        """Check all the time that the sensors stay deferred and that the triggerer lives."""
        begun, polls, age, look = time.monotonic(), self.calls(GROUP_QUERY), 0.0, 0
        while (lasted := time.monotonic() - begun) < self._seconds and not self.wrong:
            states = self._states(run)
            self.must(states == {"deferred": self._number}, f"after {lasted:.0f} s the sensors are {dict(states)}")
            self.must(self._triggerer() == triggerer, f"after {lasted:.0f} s the triggerer is another one")
            age = max(age, self._heartbeat_age())
            if (look := look + 1) % 12 == 1:
                more = self.calls(GROUP_QUERY) - polls
                self.print_progress(f"deferred for {lasted:.0f} s: {dict(states)}, {more} polls, heartbeat {age:.0f} s")
            self._sleep(5)
        polls = self.calls(GROUP_QUERY) - polls
        self.count(deferred_seconds=round(lasted), polls=polls, heartbeat_age=round(age))
        self.must(age <= HEARTBEAT_AGE, f"the triggerer's heartbeat was {age:.0f} s old")
        self.must(polls >= self._number, f"{polls} polls of {self._number} sensors")

    def _heartbeat_age(self) -> float:
        """Return the age of the triggerer's heartbeat in seconds."""
        beat = self.stack.api.get("/monitor/health")["triggerer"]["latest_triggerer_heartbeat"]
        return (datetime.now(UTC) - datetime.fromisoformat(beat)).total_seconds()
