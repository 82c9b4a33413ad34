"""Trigger for asset watchers over the sends of a DAG: exactly one event for each run."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.messages.receipt import Receipt
from airflow_provider_dingtalk.messages.receipt_parser import parse_receipts
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.task.followed_runs import RunFeed
from airflow_provider_dingtalk.triggers import DingTalkReadEventTrigger
from tests.clock import VirtualClock
from tests.support.airflow_seams import calls, key_of, planted
from tests.test_event_trigger import QUERY, AssetStateStore

pytestmark = pytest.mark.anyio

OVER = {"send": "success", "work": "failed", "more": "skipped"}


class Airflow:
    """Fake of the runs of a DAG that a triggerer queries.

    :ivar runs: States of tasks by run.
    :ivar sent: Receipts by run.
    :ivar is_down: True if queries fail.
    """

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, str | None]] = {}
        self.sent: dict[str, list[dict[str, Any]]] = {}
        self.is_down = False
        self.asked: list[tuple[str, list[str]]] = []

    def ends(self, run_id: str, receipts: list[dict[str, Any]]) -> None:
        self.runs[run_id] = dict(OVER)
        self.sent[run_id] = receipts


class Feed(RunFeed):
    """Feed that queries the test's fake Airflow."""

    def __init__(self, airflow: Airflow, dag_id: str, task_ids: list[str]) -> None:
        super().__init__(dag_id, task_ids)
        self._airflow = airflow

    async def states(self) -> dict[str, dict[str, str | None]]:
        if self._airflow.is_down:
            raise ConnectionError("down")
        return self._airflow.runs

    async def receipts(self, run_id: str, names: Any) -> list[Receipt]:
        self._airflow.asked.append((run_id, list(names)))
        return parse_receipts(self._airflow.sent[run_id])


class Clock(VirtualClock):
    """Clock that runs events at given times and stops at the end.

    :param story: Events by seconds from the start.
    """

    def __init__(self, story: dict[float, Any], lasts: float) -> None:
        super().__init__()
        self.began = self.now()
        self._story = sorted(story.items())
        self._lasts = lasts
        self.is_over = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        while self._story and self.now() - self.began >= self._story[0][0]:
            self._story.pop(0)[1]()
        if self.now() - self.began > self._lasts:
            self.is_over.set()
            await asyncio.get_running_loop().create_future()


class Followed(DingTalkReadEventTrigger):
    """Trigger that queries the test's fake Airflow and signals when it rests."""

    airflow: Airflow

    def _feed(self, dag_id: str, tasks: list[str]) -> RunFeed:
        return Feed(self.airflow, dag_id, tasks)

    async def _wait_for_cancellation(self) -> None:
        self.clock.is_over.set()  # type: ignore[attr-defined]
        await super()._wait_for_cancellation()


async def played(
    airflow: Airflow, store: Any, story: dict[float, Any] | None = None, lasts: float = 600, **more: Any
) -> list[Any]:
    """Run a trigger for ``lasts`` seconds, cancel it as Airflow does, and return its events."""
    made = Followed(**{"from_dag": "daily", "wanted": {"min_readers": 1}, **more})
    made.airflow, made.asset_state_store = airflow, store
    clock = made.clock = Clock(story or {}, lasts)
    events: list[Any] = []

    async def run() -> None:
        async for event in made.run():
            events.append(json.loads(json.dumps(event.payload)))  # noqa: PERF401 - those before a cancellation count

    task = asyncio.ensure_future(run())
    over = asyncio.ensure_future(clock.is_over.wait())
    await asyncio.wait([task, over], return_when=asyncio.FIRST_COMPLETED)
    assert not task.done(), task.exception()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await made.cleanup()
    await (await DingTalkHook().aclient()).aclose()
    return events


async def test_each_run_makes_one_event_that_names_it(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    airflow, first, second = Airflow(), planted(sandbox, "group"), planted(sandbox, "group", 2)
    airflow.ends("before", planted(sandbox, "group", readers=1))
    airflow.runs["first"] = {"send": "running"}
    story = {
        100.0: lambda: airflow.ends("first", first),
        130.0: lambda: airflow.ends("second", second),
        200.0: lambda: sandbox.state.read(sandbox.state.messages[key_of(first[0])], ["user001", "user002"]),
        300.0: lambda: [sandbox.state.read(sandbox.state.messages[key_of(receipt)], ["user003"]) for receipt in second],
    }
    events = await played(airflow, AssetStateStore(), story, lasts=3600)
    assert events == [
        {"status": "met", "dag_id": "daily", "run_id": "first", "messages": 1, "keys": [key_of(first[0])],
         "readers": 2},
        {"status": "met", "dag_id": "daily", "run_id": "second", "messages": 2,
         "keys": [key_of(receipt) for receipt in second], "readers": 2},
    ]  # fmt: skip
    assert airflow.asked == [("first", ["send", "work"]), ("second", ["send", "work"])], "the skipped are not asked"


async def test_a_restart_neither_forgets_a_run_nor_tells_of_one_twice(
    sandbox: SandboxServer, hook: DingTalkHook
) -> None:
    airflow, store = Airflow(), AssetStateStore()
    assert await played(airflow, store) == []
    airflow.ends("soon", planted(sandbox, "group", readers=1))
    assert [event["run_id"] for event in await played(airflow, store)] == ["soon"], "no run yet is a beginning too"
    assert await played(airflow, store, {70.0: lambda: airflow.ends("told", planted(sandbox, "group", readers=1))})
    waiting = planted(sandbox, "group")
    airflow.ends("waiting", waiting)
    assert await played(airflow, store) == []
    airflow.ends("meanwhile", planted(sandbox, "group", readers=1))
    sandbox.state.read(sandbox.state.messages[key_of(waiting[0])], ["user001"])
    told = [event["run_id"] for event in await played(airflow, store)]
    assert sorted(told) == ["meanwhile", "waiting"]
    assert await played(airflow, store) == []


async def test_runs_that_sent_nothing_or_nothing_that_can_be_asked_are_done_with(
    sandbox: SandboxServer, hook: DingTalkHook, capsys: pytest.CaptureFixture[str]
) -> None:
    airflow, recalled = Airflow(), planted(sandbox, "group")
    sandbox.state.recall(sandbox.state.messages[key_of(recalled[0])])
    story = {
        60.0: lambda: airflow.ends("empty", []),
        61.0: lambda: airflow.ends("odd", [{"kind": "pigeon"}]),
        62.0: lambda: airflow.ends("recalled", recalled),
        63.0: lambda: airflow.ends("fine", planted(sandbox, "group", readers=1)),
    }
    events = await played(airflow, AssetStateStore(), story, lasts=1200)
    assert [event["run_id"] for event in events] == ["fine"]
    assert sorted(run_id for run_id, _ in airflow.asked) == ["empty", "fine", "odd", "recalled"], "each is read once"


async def test_messages_are_watched_for_so_long_and_no_longer(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    airflow, receipts = Airflow(), planted(sandbox, "group")
    story = {
        60.0: lambda: airflow.ends("late", receipts),
        900.0: lambda: sandbox.state.read(sandbox.state.messages[key_of(receipts[0])], ["user001"]),
    }
    assert await played(airflow, AssetStateStore(), story, lasts=4000, watch_for=600, poke_interval=60) == []
    assert 10 <= calls(sandbox)[QUERY.replace("privateChat", "group")] <= 13


async def test_an_airflow_that_is_down_is_asked_again(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    airflow = Airflow()
    airflow.is_down = True

    def comes_back() -> None:
        airflow.is_down = False

    story = {
        200.0: comes_back,
        400.0: lambda: airflow.ends("run", planted(sandbox, "group", readers=1)),
    }
    assert [event["run_id"] for event in await played(airflow, AssetStateStore(), story)] == ["run"]


@pytest.mark.parametrize("store", [None, AssetStateStore(ValueError("several assets"))])
async def test_where_airflow_keeps_nothing_for_the_asset_it_says_so(
    sandbox: SandboxServer, hook: DingTalkHook, store: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await played(Airflow(), store) == []
    assert "No event will be made: from_dag: " in capsys.readouterr().out


@pytest.mark.parametrize("odd", [
    {"wanted": {"min_readers": -1}}, {"wanted": {"nonsense": 1}}, {"wanted": "[1]"},
    {"wanted": {"send_statuses": ["SUCESS"]}}, {"receipts": []}, {"from_dag": None},
])  # fmt: skip
async def test_what_can_never_be_is_said_at_once(
    sandbox: SandboxServer, hook: DingTalkHook, odd: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert await played(Airflow(), AssetStateStore(), **{"from_dag": "daily", **odd}) == []
    assert "No event will be made" in capsys.readouterr().out


@pytest.mark.parametrize(("names", "tasks"), [
    (["send"], [("send", [None])]),
    (["send_0"], [("send_0", [None]), ("send", [0])]),
    (["send_each_0", "send_each_1", "work"], [
        ("send_each_0", [None]), ("send_each_1", [None]), ("work", [None]), ("send_each", [0, 1]),
    ]),
    (["_1", "日报_12"], [("_1", [None]), ("日报_12", [None]), ("日报", [12])]),
    (["发送_²"], [("发送_²", [None])]),
])  # fmt: skip
def test_a_name_is_that_of_a_task_or_of_an_instance_of_a_mapped_one(
    names: list[str], tasks: list[tuple[str, list[int | None]]]
) -> None:
    found = RunFeed("daily")._tasks("run", names)
    assert [(task.task_id, task.indexes) for task in found] == tasks
    assert [task.instances for task in found] == [len(indexes) for _, indexes in tasks]
