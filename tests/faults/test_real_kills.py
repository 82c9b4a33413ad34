"""Checks of the scenarios for any Airflow: what they call wrong, without an Airflow."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from tests.faults.real_kills import BATCH, Kills
from tests.faults.real_sensors import Sensors

TEXT = "kill 0"
CLASSES = ("recalled", "failed", "expired", "unknown")


def message(number: int, *, gone: bool = True, user: str = "") -> dict[str, Any]:
    """Return a message as both snapshots of the sandbox show it."""
    kind = {"key": f"key{number}", "kind": "group", "recalls": 1, "text": TEXT}
    return {**kind, "recalled_at": 1.0 if gone else None, "receivers": [user or f"user{number}"]}


def report(in_doubt: int = 0, **classes: int) -> dict[str, Any]:
    """Return the report of a recall, with the number of messages in each class."""
    counts = {**dict.fromkeys(CLASSES, 0), **classes}
    doubt = {"sends_in_doubt": {"send": in_doubt}} if in_doubt else {}
    lists: dict[str, Any] = {name: {} for name in CLASSES if name != "recalled"}
    return {**lists, **doubt, "counts": {**counts, "total": sum(counts.values())}}


def kills_of(messages: list[dict[str, Any]], found: dict[str, Any]) -> tuple[Kills, Any]:
    """Return the scenarios with these messages, and a run whose recall or rollback reported that."""
    stack: Any = SimpleNamespace(api=SimpleNamespace(xcom=lambda *_: found))
    sandbox: Any = SimpleNamespace(ask=lambda _: {"messages": messages})
    run = SimpleNamespace(dag_id="dag", run_id="run", xcom=lambda _: found, task=lambda: {"try_number": 2})
    return Kills(stack, sandbox, 1), run


LEFT = [message(1), message(2), message(3, gone=False)]
TWICE = [message(1, user="user1"), message(2, user="user1")]


@pytest.mark.parametrize(
    ("messages", "found", "figure"),
    [
        (LEFT, report(recalled=2, in_doubt=1), None),
        (LEFT, report(recalled=2), "unnamed"),
        (LEFT, report(recalled=2), "lost"),
        (LEFT, report(recalled=3), "false"),
        (TWICE, report(recalled=2), "double"),
    ],
)
def test_a_send_is_compared_with_its_rollback(
    messages: list[dict[str, Any]], found: dict[str, Any], figure: str | None
):
    kills, run = kills_of(messages, found)
    kills._check_send(run, TEXT)
    kills.check_figures()
    if figure is None:
        assert kills.wrong == []
    else:
        assert kills.figures[figure] == 1
        assert f"{figure} is 1, expected 0" in kills.wrong


def test_a_send_that_sent_nothing_is_no_proof():
    kills, run = kills_of([], report())
    kills._check_send(run, TEXT)
    assert kills.wrong


@pytest.mark.parametrize(
    ("found", "figure"),
    [(report(recalled=BATCH - 1), "lost"), (report(recalled=BATCH), "false"), (report(recalled=BATCH - 1), "left")],
)
def test_a_recall_is_compared_with_the_messages(found: dict[str, Any], figure: str):
    messages = [message(number, gone=number > 0) for number in range(BATCH)]
    kills, run = kills_of(messages, found)
    kills._check_recall(run, [one["key"] for one in messages], calls=2)
    kills.check_figures()
    assert kills.figures[figure] == 1
    assert f"{figure} is 1, expected 0" in kills.wrong


def test_a_recall_makes_no_more_calls_than_its_tries_need():
    messages = [message(number) for number in range(BATCH)]
    for calls, is_wrong in ((2, False), (99, True)):
        kills, run = kills_of(messages, report(recalled=BATCH))
        kills._check_recall(run, [one["key"] for one in messages], calls=calls)
        assert bool(kills.wrong) is is_wrong


# ── sensors ──


def sensors_of(states: list[str], *, age: float = 1.0, polls: int = 0) -> tuple[Sensors, Any]:
    """Return the scenario with sensors in these states, and the run; each look takes no time."""
    beat = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
    instances = [{"task_id": "wait", "map_index": number, "state": state} for number, state in enumerate(states)]
    api = SimpleNamespace(
        task_instances=lambda *_: instances,
        get=lambda _: {"triggerer": {"latest_triggerer_heartbeat": beat}},
    )
    stack: Any = SimpleNamespace(api=api, processes={"triggerer": SimpleNamespace(pid=os.getpid())})
    numbers = count(0, polls)
    sandbox: Any = SimpleNamespace(calls=lambda _: next(numbers))
    sensors = Sensors(stack, sandbox, 1, len(states), 0.001, sleep=lambda _: None)
    return sensors, SimpleNamespace(dag_id="dag", run_id="run", task_id="wait")


@pytest.mark.parametrize(
    ("states", "given", "wrong"),
    [
        (["deferred"] * 2, {"polls": 5}, None),
        (["deferred", "running"], {"polls": 5}, "the sensors are"),
        (["deferred"] * 2, {"polls": 5, "age": 31.0}, "heartbeat"),
        (["deferred"] * 2, {}, "0 polls"),
    ],
)
def test_sensors_that_do_not_wait_are_noticed(states: list[str], given: dict[str, Any], wrong: str | None):
    sensors, run = sensors_of(states, **given)
    sensors._watch(run, sensors._triggerer())
    assert (wrong is None) == (sensors.wrong == [])
    assert wrong is None or wrong in " ".join(sensors.wrong)


def test_another_triggerer_is_noticed():
    sensors, run = sensors_of(["deferred"], polls=5)
    sensors._watch(run, {1})
    assert "the triggerer is another one" in sensors.wrong[0]
