"""Message trigger: its arguments, its wait, its event, and the sensor's result of the event."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import DingTalkError, MessageRecalledError
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.language import VARIABLE
from airflow_provider_dingtalk.operators import DingTalkRollbackOperator
from airflow_provider_dingtalk.sandbox.default import CLIENT_SECRET
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.task.wait_events import result_of_event
from airflow_provider_dingtalk.triggers import DingTalkDateTimeTrigger, DingTalkMessageTrigger, defer_for
from tests.clock import VirtualClock
from tests.support.airflow_names import TaskDeferred, import_string
from tests.support.airflow_seams import calls, key_of, planted
from tests.support.triggers import wait_spec

QUERY = "robot/privateChatMessages/query"


def trigger(watched: dict[str, Any], *, lasts: float = 0, **more: Any) -> DingTalkMessageTrigger:
    """Return a trigger with a virtual clock that ends after ``lasts`` seconds."""
    clock = VirtualClock()
    made = DingTalkMessageTrigger(
        dingtalk_conn_id=more.pop("dingtalk_conn_id", "dingtalk_default"),
        wait_spec=watched,
        poke_interval=more.pop("poke_interval", 60.0),
        end=clock.now() + lasts,
        **more,
    )
    made.clock = clock
    return made


async def event_of(made: DingTalkMessageTrigger) -> dict[str, Any]:
    """Return the only event of a trigger, which must be plain JSON, and close its connections."""
    events = [event.payload async for event in made.run()]
    assert len(events) == 1
    assert json.loads(json.dumps(events[0])) == events[0]
    if made.dingtalk_conn_id == "dingtalk_default":
        await (await DingTalkHook().aclient()).aclose()
    return dict(events[0])


# ── what a triggerer stores ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("with_readers", [True, False])
def test_a_trigger_is_rebuilt_from_its_serialised_form(sandbox: SandboxServer, with_readers: bool) -> None:
    watched = wait_spec(planted(sandbox, "private_chat", 3), min_readers="2", read_by=["user001"])
    made = trigger(watched, lasts=3600, with_readers=with_readers)
    path, arguments = made.serialize()
    again = import_string(path)(**json.loads(json.dumps(arguments)))
    assert type(again) is DingTalkMessageTrigger
    assert again.serialize() == made.serialize() == (path, arguments)
    assert CLIENT_SECRET not in json.dumps(arguments)
    assert set(arguments) == {"dingtalk_conn_id", "wait_spec", "poke_interval", "end", "with_readers"}


def test_a_moment_trigger_is_rebuilt_from_its_serialised_form() -> None:
    made = DingTalkDateTimeTrigger(moment=1_780_000_000.5, waits=3)
    path, arguments = made.serialize()
    assert import_string(path)(**json.loads(json.dumps(arguments))).serialize() == (path, arguments)


# ── waiting ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.anyio
@pytest.mark.parametrize("lasts", [0, -1, -100_000])
async def test_with_its_end_in_the_past_it_polls_once_and_says_that_time_is_up(
    sandbox: SandboxServer, hook: DingTalkHook, lasts: float
) -> None:
    made = trigger(wait_spec(planted(sandbox, "private_chat"), min_readers=1), lasts=lasts)
    began = made.clock.now()
    assert await event_of(made) == {"status": "timeout"}
    assert calls(sandbox)[QUERY] == 1
    assert made.clock.now() == began


@pytest.mark.anyio
async def test_with_its_end_in_the_past_what_is_there_already_is_met(
    sandbox: SandboxServer, hook: DingTalkHook
) -> None:
    event = await event_of(trigger(wait_spec(planted(sandbox, "private_chat")), lasts=-1))
    assert event["status"] == "met"


@pytest.mark.anyio
async def test_its_last_poll_is_at_the_end_and_not_before_it(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    made = trigger(wait_spec(planted(sandbox, "private_chat"), min_readers=1), lasts=150)
    began = made.clock.now()
    assert await event_of(made) == {"status": "timeout"}
    assert made.clock.now() - began == 150
    assert calls(sandbox)[QUERY] == 4, "at 0, 60, 120 and 150 seconds"


class EventfulClock(VirtualClock):
    """Clock that runs a function during the ``at``-th sleep."""

    def __init__(self, at: int, happen: Callable[[], None]) -> None:
        super().__init__()
        self._left = at
        self._happen = happen

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        self._left -= 1
        if self._left == 0:
            self._happen()


@pytest.mark.anyio
@pytest.mark.parametrize("with_readers", [True, False])
async def test_it_waits_for_readers_and_names_them_only_if_asked(
    sandbox: SandboxServer, hook: DingTalkHook, with_readers: bool
) -> None:
    (receipt,) = planted(sandbox, "private_chat")
    message = sandbox.state.messages[key_of(receipt)]
    made = trigger(wait_spec([receipt], read_by=["user002"]), lasts=3600, with_readers=with_readers)
    made.clock = EventfulClock(3, lambda: sandbox.state.read(message, ["user001", "user002"]))
    event = await event_of(made)
    (seen,) = event["messages"]
    assert (event["status"], seen["send_status"], seen["readers"]) == ("met", "SUCCESS", 2)
    assert seen.get("read_user_ids") == (["user001", "user002"] if with_readers else None)
    assert calls(sandbox)[QUERY] == 4


@pytest.mark.anyio
async def test_readers_are_counted_across_pages(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    (receipt,) = planted(sandbox, "private_chat")
    sandbox.state.read(sandbox.state.messages[key_of(receipt)], [f"reader{n:03}" for n in range(201)])
    event = await event_of(trigger(wait_spec([receipt], min_readers=201), lasts=-1))
    assert (event["status"], event["messages"][0]["readers"]) == ("met", 201)
    assert calls(sandbox)[QUERY] == 2


@pytest.mark.anyio
async def test_a_recall_by_somebody_else_ends_the_wait(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    (receipt,) = planted(sandbox, "private_chat")
    message = sandbox.state.messages[key_of(receipt)]
    made = trigger(wait_spec([receipt], min_readers=1), lasts=3600)
    made.clock = EventfulClock(2, lambda: sandbox.state.recall(message))
    event = await event_of(made)
    assert (event["status"], event["recalled"], event["code"]) == ("error", True, "recalled")
    with pytest.raises(MessageRecalledError, match="was recalled"):
        result_of_event(event, timeout=1)


@pytest.mark.anyio
async def test_a_connection_that_cannot_work_is_an_event_and_no_crash(sandbox: SandboxServer) -> None:
    watched = wait_spec(planted(sandbox, "private_chat"))
    event = await event_of(trigger(watched, lasts=3600, dingtalk_conn_id="nowhere"))
    assert (event["status"], event["recalled"]) == ("error", False)
    with pytest.raises(DingTalkError, match="nowhere") as raised:
        result_of_event(event, timeout=1)
    assert raised.value.permanent


@pytest.mark.anyio
async def test_a_message_that_dingtalk_does_not_know_ends_the_wait(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    (receipt,) = planted(sandbox, "private_chat")
    event = await event_of(trigger(wait_spec([{**receipt, "process_query_key": "unknown"}]), lasts=3600))
    assert event["status"] == "error"
    assert calls(sandbox)[QUERY] == 1


@pytest.mark.anyio
async def test_its_log_is_in_the_language_of_the_option(
    sandbox: SandboxServer, hook: DingTalkHook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "zh")
    await event_of(trigger(wait_spec(planted(sandbox, "private_chat"))))
    told = capsys.readouterr().out
    assert "正在等待 1 条消息" in told and "1 条中 1 条满足条件" in told and "等待共用" in told
    assert "Waiting" not in told and "as wanted" not in told


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("en", "DingTalk accepts no calls now; resuming in 61 s, without a worker until then."),
        ("zh", "钉钉目前不接受调用；61 秒后继续，期间不占用 worker。"),
    ],
)
def test_a_deferral_is_told_in_the_language_of_the_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str, told: str
) -> None:
    monkeypatch.setenv(VARIABLE, option)
    operator = DingTalkRollbackOperator(task_id="rollback", receipts=[])
    with pytest.raises(TaskDeferred):
        defer_for(operator, 61.0, None)
    assert told in capsys.readouterr().out
