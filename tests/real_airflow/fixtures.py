"""Test fixtures of the scenarios: Airflow, sandbox and DAG runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import airflow

from airflow_provider_dingtalk.sandbox.control_requests import CreateMessages, MarkRead, create_messages, mark_read
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.task.asset_events import rollback_log
from dev.airflow_api import AirflowApi
from dev.airflow_stack import AirflowStack

#: Major and minor version of Airflow.
VERSION = tuple(int(part) for part in airflow.__version__.split(".")[:2])
TOKEN_API = "oauth2/accessToken"
RECALL_API = {
    "group": "robot/groupMessages/recall",
    "oto": "robot/otoMessages/batchRecall",
    "private_chat": "robot/privateChatMessages/batchRecall",
    "work_notification": "topapi/message/corpconversation/recall",
    "ding": "robot/ding/recall",
}
#: Outcomes in a report.
CLASSES = ("recalled", "failed", "expired", "unknown")
#: Timeout of waits in seconds.
TIMEOUT = 180.0


def wait_until(what: str, condition: Callable[[], bool], timeout: float = TIMEOUT) -> None:
    """Poll until a condition is true.

    :param timeout: Timeout in seconds; default 180.
    :raises TimeoutError: If the condition does not become true.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.25)


class DingTalk:
    """Shared sandbox of all scenarios, emptied before each."""

    def __init__(self, server: SandboxServer) -> None:
        self.server = server

    def empty(self) -> None:
        """Reset the sandbox: no messages, no faults."""
        self.server.state.reset()

    def create_messages(self, kind: str, count: int = 1, **more: Any) -> list[str]:
        """Create messages of another program and return their keys."""
        keys = create_messages(self.server.state, CreateMessages(kind=kind, count=count, **more))["keys"]  # type: ignore[arg-type]
        return [str(key) for key in keys]

    def read_by(self, key: str, *user_ids: str, count: int | None = None) -> None:
        """Let users read a message."""
        mark_read(self.server.state, MarkRead(key=key, user_ids=list(user_ids), count=count))

    def recall_behind_our_back(self, key: str) -> None:
        """Recall a message as another program."""
        self.server.state.recall(self.server.state.messages[key])

    def messages(self) -> dict[str, dict[str, Any]]:
        """Return all messages, also recalled ones, by key as text."""
        return {str(message["key"]): message for message in self.server.snapshot()["messages"]}

    def gone(self, keys: list[str] | None = None) -> set[str]:
        """Return the keys of recalled messages."""
        found = {key for key, message in self.messages().items() if message["recalled_at"] is not None}
        return found if keys is None else found & set(keys)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the numbers of sent, recalled and visible messages by kind."""
        counts: dict[str, dict[str, int]] = self.server.snapshot(brief=True)["counts"]
        return counts

    def calls(self) -> dict[str, int]:
        """Return the number of requests that arrived, by API."""
        calls = self.server.snapshot(brief=True)["calls"]
        return {api: count["total"] for api, count in calls.items()}

    def recall_calls(self) -> dict[str, int]:
        """Return the number of recall requests that arrived, by kind."""
        calls = self.calls()
        return {kind: calls[api] for kind, api in RECALL_API.items() if api in calls}


@dataclass(frozen=True)
class DagRun:
    """One run of a DAG."""

    stack: AirflowStack
    dag_id: str
    run_id: str

    @property
    def airflow(self) -> AirflowApi:
        return self.stack.api

    def wait(self, timeout: float = TIMEOUT) -> DagRun:
        """Wait until the run is finished."""
        self.airflow.wait_run(self.dag_id, self.run_id, timeout)
        return self

    @property
    def state(self) -> str:
        """State of the run."""
        return self.airflow.run_state(self.dag_id, self.run_id)

    def states(self) -> dict[str, str | None]:
        """Return the states of its tasks; mapped tasks as ``task[index]``."""
        return self.airflow.task_states(self.dag_id, self.run_id)

    def tries(self) -> dict[str, int]:
        """Return the number of tries of each task."""
        tasks = self.airflow.task_instances(self.dag_id, self.run_id)
        return {task["task_id"]: task["try_number"] for task in tasks}

    def xcom(self, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Return a task's XCom, or None if it does not exist."""
        return self.airflow.xcom(self.dag_id, self.run_id, task_id, key, map_index)

    def report(self, task_id: str, map_index: int = -1) -> Any:
        """Return a recall's report."""
        return self.xcom(task_id, "report", map_index)

    def keys(self, task_id: str) -> list[str]:
        """Return the keys of the messages of a send task."""
        return [keys_of_receipt(receipt) for receipt in self.xcom(task_id)]

    def log(self, task_id: str) -> str:
        """Return the log of a task's last try."""
        return self.airflow.task_log(self.dag_id, self.run_id, task_id, self.tries()[task_id])

    def ends_of_logs(self, lines: int = 15) -> list[str]:
        """Return the last lines of the logs of its failed tasks."""
        found = self.airflow.task_instances(self.dag_id, self.run_id)
        failed = [(one["task_id"], one["try_number"], one["map_index"]) for one in found if one["state"] == "failed"]
        logs = {task: self.airflow.task_log(self.dag_id, self.run_id, *task).splitlines() for task in failed}
        return ["\n".join([f"{self.dag_id} {self.run_id} {task}:", *log[-lines:]]) for task, log in logs.items()]

    def wait_until_deferred(self, task_id: str) -> None:
        """Wait until a task is deferred, and the scheduler knows that its worker is free."""
        wait_until(f"{task_id} is deferred", lambda: self.states().get(task_id) == "deferred")
        self.wait_until_noted(task_id)

    def wait_until_noted(self, *task_ids: str) -> None:
        """Wait until the scheduler knows that the workers of deferred or rescheduled tasks are done.

        Airflow 3.3.2 fails a task that resumes before that. On two cores its scheduler may take seconds.
        """
        for task_id in task_ids:
            wait_until(f"the scheduler notes the end of {task_id}", lambda task_id=task_id: self._is_noted(task_id))

    def _is_noted(self, task_id: str) -> bool:
        # The log is long, so it is searched as bytes, and its lines are not split.
        log = (self.stack.home / "scheduler.log").read_bytes()
        at = 0
        while (at := log.find(b"Received executor event with state success", at)) >= 0:
            line = log[at : log.find(b"\n", at)]
            if self.run_id.encode() in line and f"'{task_id}'".encode() in line:
                return True
            at += len(line)
        return False


class Environment:
    """Airflow and DingTalk."""

    def __init__(self, stack: AirflowStack, dingtalk: DingTalk) -> None:
        self.stack = stack
        self.airflow = stack.api
        self.dingtalk = dingtalk
        self._runs: list[DagRun] = []

    def trigger(self, dag_id: str, **conf: Any) -> DagRun:
        """Start a run."""
        self._runs.append(DagRun(self.stack, dag_id, self.airflow.trigger(dag_id, conf)))
        return self._runs[-1]

    def ends_of_logs(self) -> str:
        """Return the last lines of the logs of all failed tasks of the runs that were started here."""
        return "\n".join(end for run in self._runs for end in run.ends_of_logs())

    def trigger_and_wait(self, dag_id: str, **conf: Any) -> DagRun:
        """Start a run and wait until it is finished."""
        return self.trigger(dag_id, **conf).wait()

    def rollback_log(self, dag_id: str, *runs: DagRun) -> list[dict[str, Any]]:
        """Return events of a DAG's rollback log by these runs, or by all; none without the asset.

        Airflow's scheduler lists an asset of an alias at its next clean-up, so events of runs are waited for.
        """
        if runs:
            wait_until("the rollback log has events of the runs", lambda: bool(self._events(dag_id, runs)))
        return self._events(dag_id, runs)

    def _events(self, dag_id: str, runs: Sequence[DagRun]) -> list[dict[str, Any]]:
        name = rollback_log(dag_id).name
        assets = self.airflow.get("/assets", name_pattern=name)["assets"]
        ids = [asset["id"] for asset in assets if asset["name"] == name]
        found = [self.airflow.get("/assets/events", asset_id=each, limit=100)["asset_events"] for each in ids]
        ids_of_runs = {run.run_id for run in runs}
        return [event for events in found for event in events if not runs or event["source_run_id"] in ids_of_runs]


def keys_of_receipt(receipt: dict[str, Any]) -> str:
    """Return the message key of a receipt."""
    fields = ("process_query_key", "task_id", "open_ding_id")
    return next(str(receipt[field]) for field in fields if receipt.get(field))


def classes(report: dict[str, Any]) -> dict[str, set[str]]:
    """Return the keys of a report by outcome; each key must be listed and counted once."""
    by_class = {name: set(report[name]) for name in CLASSES}
    for name, keys in by_class.items():
        assert report["counts"][name] == len(keys)
        assert len(report[name]) == len(keys)
    assert sum(len(keys) for keys in by_class.values()) == len(set().union(*by_class.values()))
    assert report["counts"]["total"] == len(set().union(*by_class.values()))
    return by_class


def codes(report: dict[str, Any], name: str) -> dict[str, str]:
    """Return the code of each key of an outcome; each must have a message and a next step."""
    for reason in report[name].values():
        assert set(reason) == {"code", "message", "next_step"}
        assert all(reason.values())
    return {key: reason["code"] for key, reason in report[name].items()}
