"""Sensors in the modes poke, reschedule and deferred end with exactly the same result."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import DingTalkError, NoRecipientsError
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.sensors import DingTalkPrivateChatMessageSensor, DingTalkWorkNotificationSensor
from airflow_provider_dingtalk.version_compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from tests.clock import VirtualClock
from tests.support.airflow_names import AirflowRescheduleException, TaskDeferred
from tests.support.airflow_seams import TaskInstance, TaskStateStore, calls, key_of, planted
from tests.support.connections import Connect

MODES = ("poke", "reschedule", "deferred")
QUERY = "robot/privateChatMessages/query"
#: Maximum polls of a rescheduled sensor; more count as endless.
MANY = 50


class Rescheduled(TaskInstance):
    """A task that may have been rescheduled before."""

    first: dt.datetime | None = None

    def get_first_reschedule_date(self, _context: Any) -> dt.datetime | None:
        return self.first


def end_of(sensor: Any, *, store: TaskStateStore | None = None) -> Any:
    """Run a sensor in its mode to its end and return its result."""
    ti = Rescheduled()
    # Between two polls of a rescheduled sensor no time passes.
    sensor._clock = VirtualClock(time.time()) if sensor.mode == "reschedule" else None
    context: Any = {"ti": ti, **({"task_state_store": store} if store else {})}
    for _ in range(MANY):
        began = dt.datetime.now(dt.UTC)
        try:
            return sensor.execute(context)
        except AirflowRescheduleException:
            # As when Airflow starts another worker: nothing but the context is left.
            ti.first = ti.first or began
            sensor._clock.advance(max(0.1, sensor._wait.seconds_left or 0.0))
            sensor._wait = None
        except TaskDeferred as deferred:
            return _resumed(sensor, deferred, context)
    raise AssertionError("it never ends")


def _resumed(sensor: Any, deferred: TaskDeferred, context: Any) -> Any:
    trigger: Any = deferred.trigger
    _, arguments = trigger.serialize()
    trigger = type(trigger)(**arguments)
    # Waiting takes no time from here on.
    trigger.clock = VirtualClock(time.time())

    async def events() -> list[Any]:
        found = [event.payload async for event in trigger.run()]
        await trigger.cleanup()
        await (await DingTalkHook().aclient()).aclose()
        return found

    (event,) = asyncio.run(events())
    return sensor.resume_execution(deferred.method_name, {"event": event}, context)


def sensor_of(mode: str, receipts: list[dict[str, Any]], **arguments: Any) -> DingTalkPrivateChatMessageSensor:
    chosen = {"deferrable": True} if mode == "deferred" else {"deferrable": False, "mode": mode}
    return DingTalkPrivateChatMessageSensor(
        task_id="wait", receipts=receipts, **{"poke_interval": 0, "timeout": 60, **chosen, **arguments}
    )


def not_at_first(sandbox: SandboxServer) -> None:
    """Let the first poll find nothing; the second sees the real status."""
    merge = {"sendStatus": "PROCESSING", "readUserIds": []}
    sandbox.state.faults.replace([{"match": "query", "nth": [1], "action": {"type": "mutate", "merge": merge}}])


READ = {"min_readers": 2}
RESULT = {"send_status": "SUCCESS", "readers": 2}
FATES: dict[str, tuple[dict[str, Any], type[BaseException] | None]] = {
    "read": (READ, None),
    "named": ({**READ, "push_readers": True}, None),
    "share": ({"min_read_share": 1.0, "audience": 2}, None),
    "recalled": (READ, AirflowFailException),
    "unread": ({"min_readers": 3, "timeout": 0}, AirflowSensorTimeout),
    "spent": ({"min_readers": 3, "max_api_calls": 4}, AirflowFailException),
    "mistaken": ({"min_readers": -1}, AirflowFailException),
}
MANNERS = {
    "plain": {},
    "soft": {"soft_fail": True},
    "never": {"never_fail": True},
    "silent": {"silent_fail": True},
}


@pytest.mark.parametrize("looks", [1, 2])
@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("fate", FATES)
def test_all_modes_come_to_the_same_end(
    sandbox: SandboxServer, hook: DingTalkHook, fate: str, manner: str, looks: int
) -> None:
    arguments, error = FATES[fate]
    ends = []
    for mode in MODES:
        sandbox.state.faults.replace([])
        (receipt,) = planted(sandbox, "private_chat")
        message = sandbox.state.messages[key_of(receipt)]
        sandbox.state.read(message, ["user001", "user002"])
        if fate == "recalled":
            sandbox.state.recall(message)
        if looks == 2:
            not_at_first(sandbox)
        sensor = sensor_of(mode, [receipt], **{**arguments, **MANNERS[manner]})
        try:
            (found,) = end_of(sensor, store=TaskStateStore())
            assert found.pop("key") == key_of(receipt)
            ends.append(found)
        except (AirflowSkipException, AirflowSensorTimeout, AirflowFailException) as ended:
            ends.append(type(ended))
    wanted: Any = error or {**RESULT, **({"read_user_ids": ["user001", "user002"]} if fate == "named" else {})}
    if error and manner in ("soft", "never"):
        wanted = AirflowSkipException
    assert ends == [wanted] * 3


@pytest.mark.parametrize("mode", MODES)
def test_an_outage_of_dingtalk_means_not_yet(sandbox: SandboxServer, hook: DingTalkHook, mode: str) -> None:
    receipts = planted(sandbox, "private_chat")
    failure = {"type": "status", "status": 400, "code": "Throttling"}
    sandbox.state.faults.replace([{"match": "query", "times": 1, "action": failure}])
    (found,) = end_of(sensor_of(mode, receipts))
    assert found["send_status"] == "SUCCESS"


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("mode", MODES)
def test_a_connection_that_cannot_work_fails_in_all_modes_alike(
    sandbox: SandboxServer, connect: Connect, mode: str, manner: str
) -> None:
    receipts = planted(sandbox, "private_chat")
    connect(password="")
    error = AirflowSkipException if manner in ("soft", "never") else AirflowFailException
    with pytest.raises(error):
        end_of(sensor_of(mode, receipts, **MANNERS[manner]))


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
def test_the_calls_of_all_looks_count(sandbox: SandboxServer, hook: DingTalkHook, keeps: bool) -> None:
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
def test_the_next_look_is_where_the_arguments_put_it(
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


# ── work notifications ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("by", ["receipts", "key", "number"])
def test_a_work_notification_can_be_waited_for_in_all_modes(
    sandbox: SandboxServer, hook: DingTalkHook, mode: str, by: str
) -> None:
    (receipt,) = planted(sandbox, "work_notification", user_ids=["user001", "user002"])
    message = sandbox.state.messages[int(key_of(receipt))]
    sandbox.state.read(message, ["user001"])
    which: dict[str, Any] = {"receipts": [receipt]}
    if by != "receipts":
        which = {"msg_task_id": int(receipt["task_id"]) if by == "number" else receipt["task_id"]}
    sensor = DingTalkWorkNotificationSensor(
        task_id="wait", min_read_share="0.5", timeout=60, poke_interval=0, deferrable=mode == "deferred",
        mode="poke" if mode == "deferred" else mode, **which,
    )  # fmt: skip
    assert end_of(sensor) == [{"key": receipt["task_id"], "send_status": "SUCCESS", "readers": 1}]


def test_a_share_of_nobody_knows_how_many_is_refused(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    with pytest.raises(AirflowFailException, match=r"min_read_share.*audience") as refused:
        end_of(sensor_of("poke", planted(sandbox, "private_chat"), min_read_share=0.5))
    assert isinstance(refused.value.__cause__, DingTalkError)
    assert calls(sandbox) == {}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fail", [True, False])
def test_a_work_notification_that_no_recipients_ends_all_modes_alike(
    sandbox: SandboxServer, hook: DingTalkHook, mode: str, fail: bool
) -> None:
    (receipt,) = planted(sandbox, "work_notification", user_ids=[])
    message = sandbox.state.messages[int(key_of(receipt))]
    message.undelivered = {"forbidden_list": [{"code": "143106", "count": 1, "userid": "user001"}]}
    sensor = DingTalkWorkNotificationSensor(
        task_id="wait", receipts=[receipt], fail_on_unreached=fail, timeout=60, poke_interval=0,
        deferrable=mode == "deferred", mode="poke" if mode == "deferred" else mode,
    )  # fmt: skip
    if fail:
        with pytest.raises(AirflowFailException, match="143106") as ended:
            end_of(sensor)
        assert isinstance(ended.value.__cause__, NoRecipientsError)
    else:
        assert end_of(sensor)[0]["send_status"] == "SUCCESS"


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
