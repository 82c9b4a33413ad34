"""Asset watchers: Airflow accepts all forms of arguments, and starts a DAG when messages are read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from airflow_provider_dingtalk.sandbox.default import CLIENT_ID, GROUPS, ROBOT_CODE
from airflow_provider_dingtalk.sandbox.state import Message
from tests.real_airflow.fixtures import DagRun, Environment, wait_until

KNOWN = ("list", "nested", "one", "text", "texts", "terms", "connection")
FOLLOWING = ("dag", "tasks")
TRIGGER = "airflow_provider_dingtalk.triggers.DingTalkReadEventTrigger"


class Watching:
    """Watchers at work: messages that were read, and the runs they started."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.before = environment.trigger_and_wait("real_watched_sends")
        for name in KNOWN:
            self._deliver(f"watched-{name}")
        environment.airflow.patch("/dags/real_watched", {"is_paused": False})
        environment.airflow.reparse("real_watched")
        wait_until("all watchers are taken", lambda: len(self.watchers()) == len(KNOWN) + len(FOLLOWING))
        wait_until("runs are followed", lambda: self._followed() == len(FOLLOWING))
        wait_until("all known messages are asked for", lambda: self._asked() > 2 * len(KNOWN))
        for name in KNOWN:
            environment.dingtalk.read_by(f"watched-{name}", "user001")
        self.sends = [environment.trigger_and_wait("real_watched_sends") for _ in range(2)]
        for run in (self.before, *self.sends):
            for key in self.keys_of(run):
                environment.dingtalk.read_by(key, "user001")
        expected = len(KNOWN) + len(FOLLOWING) * len(self.sends)
        wait_until("all events are made", lambda: len(self.events()) >= expected)
        wait_until("all events start a run", lambda: {name for name, _ in self.told()} == {*KNOWN, *FOLLOWING})

    def keys_of(self, run: DagRun, *tasks: tuple[str, int]) -> list[str]:
        tasks = tasks or (("send", -1), ("send_each", 0), ("send_each", 1), ("send_1", -1))
        receipts = [run.xcom(task, "return_value", index)[0] for task, index in tasks]
        return [receipt["process_query_key"] for receipt in receipts]

    def watchers(self) -> list[tuple[str, str]]:
        """Names of the watchers for which Airflow has a trigger, and its class."""
        query = "select w.name, t.classpath from asset_watcher w join trigger t on t.id = w.trigger_id"
        return [(name, path) for name, path in self._ask(query) if name.startswith("watcher_")]

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Payloads of the events that were made, by asset."""
        found = self.environment.airflow.get("/assets/events", limit=100, order_by="-timestamp")["asset_events"]
        ours = [event for event in found if event["name"].startswith("watched_")]
        return [(event["name"].removeprefix("watched_"), event["extra"]["payload"]) for event in ours]

    def told(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the payloads by asset that runs of the DAG received."""
        runs = self.environment.airflow.get("/dags/real_watched/dagRuns", limit=100)["dag_runs"]
        found = [self.environment.airflow.xcom("real_watched", run["dag_run_id"], "told") for run in runs]
        return [(name.removeprefix("watched_"), payload) for each in found for name, payload in each or ()]

    def _followed(self) -> int:
        return len(self._ask("select 1 from asset_state_store where key like 'dingtalk-read-runs-1-%'"))

    def _asked(self) -> int:
        return self.environment.dingtalk.calls().get("robot/groupMessages/query", 0)

    def _ask(self, query: str) -> list[Any]:
        database = self.environment.stack.home / "airflow.db"
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
            return connection.execute(query).fetchall()

    def _deliver(self, key: str) -> None:
        state = self.environment.dingtalk.server.state
        state.deliver(
            Message(
                key=key,
                kind="group",
                client_id=CLIENT_ID,
                sent_at=state.time(),
                robot_code=ROBOT_CODE,
                open_conversation_id=GROUPS[0],
                text="Known when the file is parsed.",
                receivers=("user001", "user002"),
            )
        )


@pytest.fixture(scope="module")
def watching(environment: Environment) -> Iterator[Watching]:
    yield Watching(environment)
    # No watcher may ask while other scenarios count calls.
    environment.airflow.patch("/dags/real_watched", {"is_paused": True})
    environment.airflow.reparse("real_watched")


def test_airflow_takes_the_watchers_in_all_shapes(watching: Watching) -> None:
    assert sorted(watching.watchers()) == sorted((f"watcher_{name}", TRIGGER) for name in (*KNOWN, *FOLLOWING))


@pytest.mark.parametrize("name", KNOWN)
def test_messages_that_are_known_start_a_run_once_when_they_are_read(watching: Watching, name: str) -> None:
    told = [payload for asset, payload in watching.events() if asset == name]
    assert told == [{"status": "met", "messages": 1, "keys": [f"watched-{name}"], "readers": 1}]


def test_each_run_of_the_dag_that_sends_starts_a_run_once_when_it_is_read(watching: Watching) -> None:
    told = {payload["run_id"]: payload for asset, payload in watching.events() if asset == "dag"}
    assert set(told) == {run.run_id for run in watching.sends}, "the one that was over before is not told of"
    assert len([1 for asset, _ in watching.events() if asset == "dag"]) == len(watching.sends)
    for run in watching.sends:
        payload = told[run.run_id]
        assert (payload["dag_id"], payload["messages"], payload["readers"]) == ("real_watched_sends", 4, 4)
        assert set(payload["keys"]) == set(watching.keys_of(run))


def test_of_named_tasks_only_those_messages_are_watched(watching: Watching) -> None:
    told = {payload["run_id"]: payload for asset, payload in watching.events() if asset == "tasks"}
    assert set(told) == {run.run_id for run in watching.sends}
    for run in watching.sends:
        assert set(told[run.run_id]["keys"]) == set(watching.keys_of(run, ("send_each", 0), ("send_each", 1)))


def test_a_run_that_an_event_starts_is_told_which_messages_are_read(watching: Watching) -> None:
    made = watching.events()
    assert all(each in made for each in watching.told())
