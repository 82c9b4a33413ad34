"""Workers in real Airflow that are killed in the middle of recalls and of sends, of any claimed version.

Below Airflow 3.3 nothing survives a retry: a killed recall starts over, and a killed send is left to the rollback of
its block.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import psutil

from airflow_provider_dingtalk.jobs.recall import WORKERS
from airflow_provider_dingtalk.sandbox.default import GROUPS
from airflow_provider_dingtalk.version_compat import HAS_TASK_STATE_STORE
from dev.airflow_stack import AirflowStack
from tests.cluster.accounts import block_account, recall_account
from tests.faults.kill_recalls import BATCH, DONE
from tests.faults.kill_sandbox import SEND_API, SandboxProcess
from tests.faults.real_scenarios import ScenarioFixtures, TaskRun

GROUP_RECALL = "robot/groupMessages/recall"
#: Messages and kills of each recall, one in each group.
KEYS, KILLS_PER_RECALL = 3000, 5
#: Sends with one kill each, and their receivers: the sandbox shows those of its newest 500 messages.
SENDS, USERS = 8, 400
#: Minimum number of kills that come in the middle.
KILLS = 20
#: Figures that must be zero.
ZERO = ("lost", "double", "false", "left", "unnamed")
#: Fault rules that slow calls down, so kills come in the middle: half of the calls in flight have had their effect.
LATENCY = (
    {"match": GROUP_RECALL, "action": {"type": "delay", "seconds": 0.7}},
    {"match": GROUP_RECALL, "every": 2, "when": "after", "action": {"type": "delay", "seconds": 0.7}},
    {"match": SEND_API, "action": {"type": "delay", "seconds": 0.15}},
    {"match": SEND_API, "every": 2, "when": "after", "action": {"type": "delay", "seconds": 0.15}},
)


class Kills(ScenarioFixtures):
    """Workers that are killed in the middle of recalls and of sends."""

    def __init__(self, stack: AirflowStack, sandbox: SandboxProcess, seed: int) -> None:
        super().__init__(stack, sandbox, seed, 1.0)
        names = ("worker_kills", "with_supervisor", *ZERO, "in_doubt", "visible", "unknown", "messages")
        self.figures = dict.fromkeys((*names, "calls", "batches", "deadlocks"), 0)
        self._planted: dict[str, tuple[list[str], str]] = {}

    def run(self) -> None:
        """Kill recalls, and at the same time sends."""
        # All at once, so that nothing but sends makes new messages later.
        self._planted = {group: self.create_messages("group", KEYS, group) for group in GROUPS}
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self.run_scenario, [self.recalls, self.sends]))
        self.must(self.figures["worker_kills"] >= KILLS, f"{self.figures['worker_kills']} kills came in the middle")
        self.check_figures()

    def check_figures(self) -> None:
        """Check that nothing was lost, invented, doubled or left without a word."""
        for name in ZERO:
            self.must(not self.figures[name], f"{name} is {self.figures[name]}, expected 0")

    def recalls(self) -> None:
        """Kill each recall several times, and compare its last report with the messages."""
        for group, (keys, file) in self._planted.items():
            first = self.calls(GROUP_RECALL)
            run = TaskRun(self.stack, "fault_recall", "recall", file=file, group=group)
            self._kill_recall(run, first)
            self.must(run.wait() == "success", f"the recall in {group} ended {run.task()['state']}")
            self._check_recall(run, keys, self.calls(GROUP_RECALL) - first)

    def _kill_recall(self, run: TaskRun, first: int) -> None:
        last_try = 0
        for number in range(KILLS_PER_RECALL):
            share = partial(self._share_of_calls, first)
            last_try = self._kill(run, share, self._goal(number, KILLS_PER_RECALL), last_try, whole=number % 2 == 1)
            if not HAS_TASK_STATE_STORE:
                first = self.calls(GROUP_RECALL)

    def _check_recall(self, run: TaskRun, keys: list[str], calls: int) -> None:
        account = recall_account(keys, run.xcom("report"), self.messages(kind="group"))
        tries, batches = run.task()["try_number"], len(keys) // BATCH
        self.count(**{name: account[name] for name in ("lost", "false", "left", "unknown")})
        self.count(messages=len(keys), calls=calls, batches=batches)
        self.must(account["recalled"] == len(keys), f"{run.dag_id}: {account}")
        limit = batches + WORKERS * (tries - 1) if HAS_TASK_STATE_STORE else batches * tries
        self.must(calls <= limit, f"{run.dag_id}: {calls} calls in {tries} tries, of at most {limit}")
        self.print_progress(f"{run.dag_id}: {account}, {tries} tries, {calls} calls for {batches} batches")

    def sends(self) -> None:
        """Kill each send once, and compare the report of its block's rollback with the messages."""
        for number in range(SENDS):
            text, first = f"kill {number}", self._number_sent()
            run = TaskRun(self.stack, "fault_send_block", "send", users=USERS, text=text)
            self._kill(run, partial(self._share_of_sends, first), self._goal(), 0, whole=number % 2 == 1)
            self.must(run.wait() == "failed", f"the block of {text!r} did not fail")
            self._check_send(run, text)

    def _check_send(self, run: TaskRun, text: str) -> None:
        messages = self.messages(text=text)
        report = self.stack.api.xcom(run.dag_id, run.run_id, "rollback", "report") or {}
        account, counts = block_account(report, messages), report.get("counts", {})
        in_doubt, gone = sum(report.get("sends_in_doubt", {}).values()), account["sent"] - account["visible"]
        self.count(messages=account["sent"], visible=account["visible"], unnamed=account["without_trace"])
        self.count(lost=max(0, account["sent"] - counts.get("total", 0) - in_doubt), unknown=counts.get("unknown", 0))
        self.count(false=max(0, counts.get("recalled", 0) - gone), double=self._double(text, account["sent"]))
        self.count(in_doubt=in_doubt)
        self.must(in_doubt <= WORKERS, f"{text!r}: {in_doubt} sends in doubt")
        self.must(account["sent"] > 0 and counts.get("recalled") == gone, f"{text!r}: {account}, {counts}")
        self.print_progress(f"{run.dag_id}: {account}, {counts}, {in_doubt} in doubt")

    def _double(self, text: str, sent: int) -> int:
        """Count the copies of these messages beyond the first at each receiver."""
        shown = self.ask(lambda one: one.ask("/chats"))["messages"]
        copies = Counter(user_id for one in shown if one["text"] == text for user_id in one["receivers"])
        self.must(copies.total() == sent, f"{text!r}: {copies.total()} of {sent} messages are shown")
        return copies.total() - len(copies)

    def _goal(self, number: int = 0, of: int = 1) -> float:
        """Return the share of the work after which to kill; those of one task grow."""
        return 0.1 + 0.7 * (number + self._rng.random()) / of

    def _share_of_calls(self, first: int) -> float:
        return (self.calls(GROUP_RECALL) - first) / (KEYS // BATCH)

    def _number_sent(self) -> float:
        return float(self.ask(lambda one: one.share("oto", "sent", 1)))

    def _share_of_sends(self, first: float) -> float:
        return (self._number_sent() - first) / USERS

    def _kill(self, run: TaskRun, share: Callable[[], float], goal: float, last_try: int, *, whole: bool) -> int:
        """Kill the task's process at a share of the work, if ``whole`` after its supervisor; return the try."""
        found = self.until(f"{run.dag_id}: a try at {goal:.0%}", partial(self._ripe, run, share, goal, last_try))
        if found == "over":
            self.must(False, f"{run.dag_id}: over before {goal:.0%}")
            return last_try
        pid, try_number = found
        done, supervisor = share(), psutil.Process(pid).ppid()
        if supervisor == self.stack.processes["scheduler"].pid:
            raise RuntimeError("the scheduler supervises the task itself, and must not be killed")
        for victim in [supervisor, pid] if whole else [pid]:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        self.count(worker_kills=DONE[0] <= done <= DONE[1], with_supervisor=whole)
        self.print_progress(f"{run.dag_id}: killed try {try_number} at {done:.0%}{' with its supervisor' * whole}")
        return int(try_number)

    @staticmethod
    def _ripe(run: TaskRun, share: Callable[[], float], goal: float, last_try: int) -> Any:
        """Return pid and number of a new try that has done a share of the work; "over" if the run is."""
        if share() < goal:
            return "over" if run.is_over() else None
        found = run.living()
        return found if found and found[1] > last_try else None
