"""Work of the scenarios on one host: recalls, sends and rollback blocks, each with its account."""

from __future__ import annotations

import itertools
import json
from datetime import datetime
from typing import Any, ClassVar

from airflow_provider_dingtalk.cli.run_receipts import messages_of_run
from airflow_provider_dingtalk.exceptions import DingTalkError
from airflow_provider_dingtalk.sandbox.testing import connection_to
from dev.airflow_api import FINISHED
from dev.cluster import Cluster
from tests.cluster.accounts import Messages, Row, block_account, hold, recall_account, send_account, waited
from tests.faults.kill_sandbox import SandboxProcess
from tests.real_airflow.fixtures import DagRun

KEYS, PEOPLE = 3_000, 600
BLOCK_PEOPLE = 100
#: Calls a second of recalls and sends, so that a recall or a send that meets a fault takes 15 s.
RATES = {"recall": 10, "send": 40}
#: Timeout in seconds of one run with a fault.
TIMEOUT = 300.0
_numbers = itertools.count(1)


def connections(host: str, url: str) -> dict[str, str]:
    """Return the environment with the connections of a host: at DingTalk's rate, for recalls, for sends."""
    name, connection = f"AIRFLOW_CONN_{host.upper()}", connection_to(url)
    found = {name: json.dumps(connection)}
    for work, rate in RATES.items():
        connection["extra"]["calls_per_second"] = rate
        found[f"{name}-{work.upper()}"] = json.dumps(connection)
    return found


class Lane:
    """One worker's host with a sandbox of its own, so that faults of two hosts run side by side.

    :param scale: Factor of the number of keys and people of work that meets a fault.
    """

    def __init__(self, cluster: Cluster, host: str, sandbox: SandboxProcess, scale: float = 1.0) -> None:
        self.scale = scale
        self.cluster = cluster
        self.host = host
        self.sandbox = sandbox

    @property
    def other_host(self) -> str:
        """Name of the other worker's host."""
        return "worker-2" if self.host == "worker-1" else "worker-1"

    def clear(self, **switches: Any) -> None:
        """Reset the sandbox, with enough people."""
        self.sandbox.tell("POST", "/reset", {})
        self.sandbox.tell("POST", "/people", {"count": 1200})
        if switches:
            self.sandbox.tell("PUT", "/behaviour", switches)

    def create_keys(self, kind: str, count: int) -> tuple[list[str], str]:
        """Create messages and return their keys and the file that lists them."""
        keys = self.sandbox.tell("POST", "/plant", {"kind": kind, "count": count, "user_ids": ["user001"]})["keys"]
        file = self.cluster.home / f"keys-{next(_numbers)}.json"
        file.write_text(json.dumps(keys))
        return keys, str(file)


class Work:
    """Run of a DAG with one task that is watched; its messages wait until :meth:`begin`.

    :param retries: Retries of the task: 0, 1 after a minute, or 2.
    """

    name: ClassVar[str]
    #: Number of tries that the work may take under any fault; None for that of the fault.
    tries: ClassVar[int | None] = None

    def __init__(self, lane: Lane, retries: int) -> None:
        self.lane = lane
        number = next(_numbers)
        self.text = f"{self.name} {number}"
        self._gate = lane.cluster.home / f"gate-{number}"
        conf = {**self.conf(), "gate": str(self._gate)}
        dag_id = f"{self.name}_{retries}_{lane.host}"
        self.run = DagRun(lane.cluster, dag_id, lane.cluster.api.trigger(dag_id, conf))

    def conf(self) -> dict[str, Any]:
        """Return the parameters of the run."""
        raise NotImplementedError

    @property
    def is_ready(self) -> bool:
        """True if the task waits to begin."""
        return self._gate.with_suffix(".reached").exists()

    def begin(self) -> None:
        """Let the task send or recall its messages."""
        self._gate.touch()

    def share(self) -> float:
        """Return the share that is done."""
        raise NotImplementedError

    def times(self) -> list[float]:
        """Return the times of the messages that were sent or recalled, in seconds since 1970."""
        raise NotImplementedError

    def account(self) -> dict[str, int]:
        """Compare what the run reported with the messages."""
        raise NotImplementedError

    def is_over(self) -> bool:
        """Return True if the run is finished."""
        return self.run.state in FINISHED

    def task(self) -> dict[str, Any]:
        """Return the instance of the task."""
        found = self.lane.cluster.api.task_instances(self.run.dag_id, self.run.run_id)
        return next(one for one in found if one["task_id"] == self.task_id)

    @property
    def task_id(self) -> str:
        """Id of the task that is watched."""
        return self.name

    def messages(self) -> Messages:
        """Return the messages of this run."""
        return [message for message in self.lane.sandbox.messages() if message["text"] == self.text]

    def row(self, fault: str, *, at: float, end: float, airflow: float, tries: int) -> Row:
        """Return the row of this work under a fault, and check it.

        :param at: Share that was done at the fault.
        :param end: End of the fault in seconds since 1970.
        :param airflow: Seconds of Airflow's own timeouts.
        :param tries: Number of tries that it may take.
        """
        self.run.wait(TIMEOUT)
        task = self.task()
        row = Row(name=f"{fault}, {self.name}", figures=self.account())
        hold(row, task["try_number"], self.tries or tries)
        row.figures |= {"tries": task["try_number"], "state": task["state"], "host": task["hostname"]}
        row.figures |= {"at": round(at, 2), "waited": self.waited(end, airflow)}
        row.must(0 < at < 1, f"the fault came at {at:.0%}")
        self.check(row)
        return row

    def waited(self, end: float, airflow: float) -> float | None:
        """Return the seconds from the end of a fault to the next message, without Airflow's own timeouts."""
        return waited(self.times(), end, airflow)

    def check(self, row: Row) -> None:
        """Check what only this work promises."""
        row.must(row.figures["state"] == "success" or bool(row.figures["unknown"]), "the task did not succeed")


class Recall(Work):
    """Recall of group messages."""

    name = "recall"

    def conf(self) -> dict[str, Any]:
        self.keys, file = self.lane.create_keys("group", int(KEYS * self.lane.scale))
        return {"file": file}

    def messages(self) -> Messages:
        ours = set(self.keys)
        return [message for message in self.lane.sandbox.messages() if message["key"] in ours]

    def share(self) -> float:
        return self.lane.sandbox.share("group", "recalled", len(self.keys))

    def times(self) -> list[float]:
        return [message["recalled_at"] for message in self.messages() if message["recalled_at"] is not None]

    def account(self) -> dict[str, int]:
        return recall_account(self.keys, self.run.report("recall"), self.messages())


class Send(Work):
    """Send to people, one receipt each."""

    name = "send"
    people = PEOPLE

    def conf(self) -> dict[str, Any]:
        self.people = int(self.people * self.lane.scale)
        return {"people": self.people, "text": self.text}

    def share(self) -> float:
        return len(self.messages()) / self.people

    def times(self) -> list[float]:
        return [message["sent_at"] for message in self.messages()]

    def account(self) -> dict[str, int]:
        try:
            found = messages_of_run(self.lane.cluster.api, self.run.dag_id, self.run.run_id, ["send"]).receipts
        except DingTalkError:
            found = []
        unknown = self.run.xcom("send", "unknown") or []
        return send_account(self.people, {receipt.key for receipt in found}, len(unknown), self.messages())


class Block(Send):
    """Rollback block: a send, then a task that fails."""

    name = "block"
    people = BLOCK_PEOPLE
    # A rollback has retries of its own. The promise is about its messages.
    tries = 3
    task_id = "rollback"

    def times(self) -> list[float]:
        return [message["recalled_at"] for message in self.messages() if message["recalled_at"] is not None]

    def account(self) -> dict[str, int]:
        return block_account(self.run.report("rollback"), self.messages())

    def waited(self, end: float, airflow: float) -> float | None:
        # The rollback is due when the send and the task after it have ended, by whichever of Airflow's timeouts.
        tasks = self.lane.cluster.api.task_instances(self.run.dag_id, self.run.run_id)
        ends = [one["end_date"] for one in tasks if one["task_id"] in ("send", "fails") and one["end_date"]]
        due = max((datetime.fromisoformat(date).timestamp() for date in ends), default=end)
        return waited(self.times(), due, 0) if due > end else waited(self.times(), end, airflow)

    def check(self, row: Row) -> None:
        row.must(self.run.state == "failed", "the run did not fail")
        row.must(bool(row.figures["sent"]), "nothing was sent")


class SentBlock(Block):
    """Rollback block whose messages are all sent at the fault, while its next task still works."""

    name = "sent_block"
    people = 20

    def share(self) -> float:
        """Return a half when all messages are sent and the next task works."""
        return 0.5 if self.run.states().get("works") == "running" else 0.0

    def check(self, row: Row) -> None:
        super().check(row)
        row.must(not row.figures["visible"], "messages are left")
