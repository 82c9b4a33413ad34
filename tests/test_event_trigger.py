"""Trigger for asset watchers: one event, and no end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from airflow.sdk import DAG, Asset, AssetWatcher
from airflow.serialization.serialized_objects import LazyDeserializedDAG
from airflow.triggers.base import BaseEventTrigger

from airflow_provider_dingtalk.connection.cache import _entries
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.language import VARIABLE
from airflow_provider_dingtalk.sandbox.default import CLIENT_SECRET
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.task.wait_events import KEYS_IN_PAYLOAD
from airflow_provider_dingtalk.triggers import DingTalkReadEventTrigger
from tests.clock import VirtualClock
from tests.support.airflow_names import import_string
from tests.support.airflow_seams import calls, key_of, planted

pytestmark = pytest.mark.anyio

QUERY = "robot/privateChatMessages/query"


class AssetStateStore:
    """Asset state store as in Airflow 3.3.

    :param error: Error to raise at each access; default None.
    """

    def __init__(self, error: Exception | None = None) -> None:
        self.values: dict[str, Any] = {}
        self._error = error

    async def aget(self, key: str, default: Any = None) -> Any:
        if self._error:
            raise self._error
        return self.values.get(key, default)

    async def aset(self, key: str, value: Any) -> None:
        if self._error:
            raise self._error
        self.values[key] = value


class Watched(DingTalkReadEventTrigger):
    """Trigger that signals when it rests."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.rests = asyncio.Event()

    async def _wait_for_cancellation(self) -> None:
        self.rests.set()
        await super()._wait_for_cancellation()


def trigger(receipts: list[dict[str, Any]], store: Any = None, **more: Any) -> Watched:
    made = Watched(receipts=receipts, **{"wanted": {"min_readers": 2}, **more})
    made.clock = VirtualClock()
    made.asset_state_store = store
    return made


async def played(made: Watched) -> list[Any]:
    """All events of a trigger, until it rests; then it is cancelled, as Airflow does."""
    events: list[Any] = []

    async def run() -> None:
        async for event in made.run():
            events.append(json.loads(json.dumps(event.payload)))  # noqa: PERF401 - those before a cancellation count

    task = asyncio.ensure_future(run())
    rests = asyncio.ensure_future(made.rests.wait())
    await asyncio.wait([task, rests], return_when=asyncio.FIRST_COMPLETED)
    assert not task.done(), "Airflow would start it again"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await made.cleanup()
    assert not _entries()
    await (await DingTalkHook().aclient()).aclose()
    return events


async def test_it_is_what_an_asset_watcher_takes_and_is_rebuilt_from_its_arguments(
    sandbox: SandboxServer,
) -> None:
    made = DingTalkReadEventTrigger(receipts=planted(sandbox, "private_chat", 2), max_api_calls=7)
    with DAG("d", schedule=[Asset("read", watchers=[AssetWatcher(name="w", trigger=made)])]):
        pass
    path, arguments = made.serialize()
    assert import_string(path)(**json.loads(json.dumps(arguments))).serialize() == (path, arguments)
    assert isinstance(made, BaseEventTrigger)
    assert CLIENT_SECRET not in json.dumps(arguments)


async def test_it_makes_one_event_when_so_many_have_read(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    (receipt,) = planted(sandbox, "private_chat")
    sandbox.state.read(sandbox.state.messages[key_of(receipt)], ["user001", "user002"])
    nobody = {"type": "mutate", "merge": {"readUserIds": []}}
    sandbox.state.faults.replace([{"match": "query", "nth": [1, 2, 3], "action": nobody}])
    events = await played(trigger([receipt]))
    assert events == [{"status": "met", "messages": 1, "keys": [key_of(receipt)], "readers": 2}]
    assert calls(sandbox)[QUERY] == 4


async def test_its_payload_stays_small(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    receipts = planted(sandbox, "private_chat", 300)
    (event,) = await played(trigger(receipts, wanted={}))
    assert (event["messages"], len(event["keys"])) == (300, KEYS_IN_PAYLOAD)
    assert "user" not in json.dumps(event)


async def test_what_passes_does_not_end_it(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    receipts = planted(sandbox, "private_chat")
    outage = {"type": "status", "status": 400, "code": "Throttling"}
    ban = {"type": "ban"}
    sandbox.state.faults.replace([
        {"match": "query", "nth": [1], "action": outage}, {"match": "query", "nth": [2], "action": ban},
    ])  # fmt: skip
    made = trigger(receipts, wanted={})
    client = await DingTalkHook().aclient()
    client._clock = made.clock
    assert len(await played(made)) == 1


@pytest.mark.parametrize("wanted", [
    {"min_readers": 1}, {"min_readers": -1}, {"nonsense": 1}, {"min_read_share": 0.5}, {"match": "most"},
])  # fmt: skip
async def test_what_does_not_pass_makes_no_event_and_no_storm(
    sandbox: SandboxServer, hook: DingTalkHook, wanted: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (receipt,) = planted(sandbox, "private_chat")
    sandbox.state.recall(sandbox.state.messages[key_of(receipt)])
    assert await played(trigger([receipt], wanted=wanted)) == []
    assert calls(sandbox).get(QUERY, 0) <= 1
    assert "No event will be made" in capsys.readouterr().out


async def test_where_airflow_keeps_state_an_event_is_made_once_for_all_restarts(
    sandbox: SandboxServer, hook: DingTalkHook
) -> None:
    receipts, store = planted(sandbox, "private_chat"), AssetStateStore()
    assert len(await played(trigger(receipts, store, wanted={}))) == 1
    assert len(store.values) == 1
    assert await played(trigger(receipts, store, wanted={})) == []
    assert calls(sandbox)[QUERY] == 1
    # Another condition on the same messages is another event.
    assert len(await played(trigger(receipts, store, wanted={"match": "any"}))) == 1


async def test_a_store_that_is_down_costs_a_warning(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    store = AssetStateStore(ValueError("several assets"))
    assert len(await played(trigger(planted(sandbox, "private_chat"), store, wanted={}))) == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "receipts: give receipts, or from_dag, and not both"),
        ({"receipts": [], "from_dag": "d"}, "receipts: give receipts, or from_dag, and not both"),
        ({"receipts": []}, "receipts: is empty: nothing to wait for"),
        ({"receipts": "send"}, "receipts: is a text, not a receipt"),
        ({"from_dag": "d", "wanted": {"min_raeders": 1}}, r"wanted: holds \['min_raeders'\]; use some of"),
        ({"from_dag": "d", "wanted": {"min_readers": -1}}, "min_readers: must be a whole number, 0 or more"),
        ({"from_dag": "d", "max_api_calls": 0}, "max_api_calls: must be a whole number, 1 or more"),
        *[
            ({"from_dag": "d", name: 0}, f"{name}: must be a timedelta or a number of seconds, more than 0")
            for name in ("dag_poll_interval", "watch_for", "max_poke_interval")
        ],
        ({"from_dag": "d", "from_tasks": [5]}, r"from_tasks\[0\]: must be text, not int"),
    ],
)
async def test_a_mistake_ends_the_parse_of_the_dag_file_and_never_the_triggerer(
    arguments: dict[str, Any], problem: str
) -> None:
    """Airflow 3.3.2: an error in the constructor of a trigger ends the triggerer."""
    made = DingTalkReadEventTrigger(**arguments)
    with DAG("d", schedule=[Asset("read", watchers=[AssetWatcher(name="w", trigger=made)])]) as dag:
        pass
    # What the dag-processor does with each DAG.
    with pytest.raises(Exception, match=problem):
        LazyDeserializedDAG.from_dag(dag)


@pytest.mark.parametrize(
    ("option", "starts"), [("zh", ["不会产生事件"]), ("both", ["No event will be made", "不会产生事件"])]
)
async def test_the_reason_for_no_event_is_told_in_the_language_of_the_option(
    sandbox: SandboxServer,
    hook: DingTalkHook,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    starts: list[str],
) -> None:
    monkeypatch.setenv(VARIABLE, option)
    assert await played(trigger(planted(sandbox, "private_chat"), wanted={"min_readers": -1})) == []
    told = capsys.readouterr().out
    assert [start for start in ("No event will be made", "不会产生事件") if f"{start}: min_readers" in told] == starts
