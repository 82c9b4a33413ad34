"""Sensors in the modes poke, reschedule and deferred end with exactly the same result."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import DingTalkError, NoRecipientsError
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.sensors import DingTalkWorkNotificationSensor
from airflow_provider_dingtalk.version_compat import AirflowFailException, AirflowSensorTimeout, AirflowSkipException
from tests.support.airflow_seams import TaskStateStore, calls, key_of, planted
from tests.support.connections import Connect
from tests.support.sensors import MODES, end_of, not_at_first, sensor_of

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


@pytest.mark.parametrize("polls", [1, 2])
@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("fate", FATES)
def test_all_modes_come_to_the_same_end(
    sandbox: SandboxServer, hook: DingTalkHook, fate: str, manner: str, polls: int
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
        if polls == 2:
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
