"""Waits inside a task: stored progress, time of the next poll, no messages."""

from __future__ import annotations

import datetime as dt
import logging
from itertools import count
from typing import Any

import pytest

from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.sensors import DingTalkPrivateChatMessageSensor
from airflow_provider_dingtalk.version_compat import AirflowFailException, AirflowSkipException
from tests.clock import VirtualClock
from tests.support.airflow_names import AirflowRescheduleException
from tests.support.airflow_seams import TaskInstance, TaskStateStore, calls, key_of, planted
from tests.support.outages import server_of_outages, supervisor_error
from tests.support.sensors import MODES, Rescheduled, end_of, not_at_first, sensor_of

QUERY = "robot/privateChatMessages/query"


# ── the checkpoint of a rescheduled sensor ───────────────────────────────────────────────────────────


def read_one_by_one(sandbox: SandboxServer, receipts: list[dict[str, Any]]) -> None:
    """Let each poll see one more reader; the pages of the other messages are empty."""
    for receipt in receipts:
        sandbox.state.read(sandbox.state.messages[key_of(receipt)], ["user001"])
    hidden = {"type": "mutate", "merge": {"readUserIds": []}}
    sandbox.state.faults.replace([{"match": "query", "nth": [2, 3, 5], "action": hidden}])


@pytest.mark.parametrize(("mode", "keeps"), [
    ("poke", True), ("deferred", True), ("reschedule", True), ("reschedule", False),
])  # fmt: skip
def test_what_is_decided_is_not_asked_again_where_there_is_a_place_to_keep_it(
    sandbox: SandboxServer, hook: DingTalkHook, mode: str, keeps: bool
) -> None:
    receipts = planted(sandbox, "private_chat", 3)
    read_one_by_one(sandbox, receipts)
    found = end_of(sensor_of(mode, receipts, min_readers=1), store=TaskStateStore() if keeps else None)
    assert [entry["readers"] for entry in found] == [1, 1, 1]
    # All three; the two without a reader; the one still without a reader.
    assert calls(sandbox)[QUERY] == (3 + 2 + 1 if keeps else 3 + 3 + 3)


@pytest.mark.parametrize("keeps", [True, False])
def test_the_calls_of_all_polls_count(sandbox: SandboxServer, hook: DingTalkHook, keeps: bool) -> None:
    sensor = sensor_of("reschedule", planted(sandbox, "private_chat"), min_readers=1, max_api_calls=6)
    if keeps:
        with pytest.raises(AirflowFailException, match="API calls"):
            end_of(sensor, store=TaskStateStore())
        assert calls(sandbox)[QUERY] == 5, "and one for the token"
    else:
        with pytest.raises(AssertionError, match="never ends"):
            end_of(sensor)


class Broken(TaskStateStore):
    """Store with invalid values that accepts no writes."""

    def get(self, key: str, default: Any = None) -> Any:
        return {"epoch": 0, "rows": ["?"], "state": {"looked": "yesterday"}}

    def set(self, key: str, value: Any) -> None:
        raise RuntimeError("down")


def test_a_broken_store_costs_calls_and_nothing_else(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    receipts = planted(sandbox, "private_chat", 3)
    read_one_by_one(sandbox, receipts)
    found = end_of(sensor_of("reschedule", receipts, min_readers=1), store=Broken())
    assert len(found) == 3


class Stumbling(TaskStateStore):
    """Store whose API server is away at every second request."""

    def __init__(self) -> None:
        super().__init__()
        self._requests = count(1)

    def get(self, key: str, default: Any = None) -> Any:
        self._stumble()
        return super().get(key, default)

    def set(self, key: str, value: Any) -> None:
        self._stumble()
        super().set(key, value)

    def _stumble(self) -> None:
        if next(self._requests) % 2:
            raise supervisor_error()


def test_an_api_server_that_is_away_costs_no_progress(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    receipts = planted(sandbox, "private_chat", 3)
    read_one_by_one(sandbox, receipts)
    sensor = sensor_of("reschedule", receipts, min_readers=1)
    found = end_of(sensor, store=Stumbling(), server=server_of_outages(VirtualClock()))
    assert [entry["readers"] for entry in found] == [1, 1, 1]
    assert calls(sandbox)[QUERY] == 3 + 2 + 1


# ── when ─────────────────────────────────────────────────────────────────────────────────────────────


def next_gap(sensor: Any) -> float:
    """Return the seconds until the next poll of a rescheduled sensor."""
    now = dt.datetime.now(dt.UTC)
    with pytest.raises(AirflowRescheduleException) as again:
        sensor.execute({"ti": Rescheduled()})
    return float((again.value.reschedule_date - now).total_seconds())


@pytest.mark.parametrize(("arguments", "age", "least", "most"), [
    ({"poke_interval": None}, 0, 18, 21),
    ({"poke_interval": None}, 3600, 0, 780),
    ({"poke_interval": None}, 20 * 3600, 0, 7200),
    ({"poke_interval": None, "max_poke_interval": 300}, 20 * 3600, 0, 300),
    ({"poke_interval": None, "max_poke_interval": dt.timedelta(minutes=5)}, 20 * 3600, 0, 300),
    ({"poke_interval": None, "max_wait": 300}, 20 * 3600, 0, 300),
    ({"poke_interval": 60}, 20 * 3600, 59, 61),
    ({"poke_interval": dt.timedelta(minutes=1)}, 0, 59, 61),
    ({"poke_interval": 9000}, 0, 8999, 9001),
    ({"poke_interval": 60, "exponential_backoff": True}, 0, 54, 61),
    ({"poke_interval": 60, "exponential_backoff": True}, 3600, 0, 781),
    ({"poke_interval": 9000, "timeout": 100}, 0, 99, 101),
])  # fmt: skip
def test_the_next_poll_is_where_the_arguments_put_it(
    sandbox: SandboxServer, hook: DingTalkHook, arguments: dict[str, Any], age: float, least: float, most: float
) -> None:
    receipts = planted(sandbox, "private_chat", age_seconds=age)
    gap = next_gap(sensor_of("reschedule", receipts, **{"min_readers": 1, "timeout": 86_400, **arguments}))
    assert least <= gap <= most


@pytest.mark.parametrize("field", ["max_poke_interval", "max_api_calls"])
@pytest.mark.parametrize("odd", [0, -5, "soon", True, None])
def test_terms_of_no_use_are_refused_by_their_name(
    sandbox: SandboxServer, hook: DingTalkHook, field: str, odd: Any
) -> None:
    with pytest.raises(AirflowFailException, match=field):
        end_of(sensor_of("poke", planted(sandbox, "private_chat"), **{field: odd}))
    assert QUERY not in calls(sandbox)


# ── nothing to wait for ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("nothing", [[], [[]], None, "None", "[]", [None]])
def test_nothing_to_wait_for_is_as_on_empty_says(
    sandbox: SandboxServer, hook: DingTalkHook, mode: str, nothing: Any
) -> None:
    assert end_of(sensor_of(mode, nothing)) == []
    with pytest.raises(AirflowSkipException, match="Nothing to wait for"):
        end_of(sensor_of(mode, nothing, on_empty="skip"))
    with pytest.raises(AirflowFailException, match="receipts: is empty"):
        end_of(sensor_of(mode, nothing, on_empty="fail"))
    with pytest.raises(AirflowFailException, match="on_empty"):
        end_of(sensor_of(mode, nothing, on_empty="maybe"))
    assert calls(sandbox) == {}


def test_a_sensor_that_names_no_message_is_a_mistake_and_not_empty(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    sensor = DingTalkPrivateChatMessageSensor(task_id="wait")
    sensor.render_template_fields({"ti": TaskInstance()})
    with pytest.raises(AirflowFailException, match="process_query_key: is missing"):
        end_of(sensor)
    missing_xcom = DingTalkPrivateChatMessageSensor(task_id="wait", process_query_key="{{ None }}")
    missing_xcom.render_template_fields({"ti": TaskInstance()})
    with pytest.raises(AirflowFailException, match="process_query_key: is missing"):
        end_of(missing_xcom)
    empty = DingTalkPrivateChatMessageSensor(task_id="wait", receipts="{{ None }}")
    empty.render_template_fields({"ti": TaskInstance()})
    assert end_of(empty) == []


@pytest.mark.parametrize(
    ("mode", "store", "times"),
    [("reschedule", None, 1), ("reschedule", TaskStateStore(), 0), ("poke", None, 0), ("deferred", None, 0)],
)
def test_a_rescheduled_wait_without_a_state_store_says_so_once(
    sandbox: SandboxServer,
    hook: DingTalkHook,
    caplog: pytest.LogCaptureFixture,
    mode: str,
    store: TaskStateStore | None,
    times: int,
) -> None:
    not_at_first(sandbox)
    end_of(sensor_of(mode, planted(sandbox, "private_chat")), store=store)
    assert caplog.text.count("This Airflow has no task state store") == times


def test_all_lines_of_a_wait_are_chinese_too(
    sandbox: SandboxServer, hook: DingTalkHook, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__DINGTALK__LANGUAGE", "zh")
    not_at_first(sandbox)
    with caplog.at_level(logging.INFO, "airflow_provider_dingtalk.task.wait"):
        end_of(sensor_of("poke", planted(sandbox, "private_chat"), max_api_calls=50))
    first = [message for message in caplog.messages if message.startswith("正在等待 1 条消息，还剩 ")]
    assert len(first) == 1 and first[0].endswith("达到 50 次调用（max_api_calls）即停止。")
    assert caplog.messages[-2:] == [
        "1 SUCCESS；1 条中 1 条满足条件。",
        "等待共用 3 次 API 调用：{'status': 2, 'token': 1}。",
    ]
