"""Connection look-ups: their number, sharing and failures."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_dingtalk.connection.cache import LIFETIME, SharedConnection, _entries
from airflow_provider_dingtalk.connection.settings import Settings
from airflow_provider_dingtalk.exceptions import ConfigurationError
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.task.wait_spec import wait_spec_of_receipts
from airflow_provider_dingtalk.triggers import DingTalkMessageTrigger
from tests.clock import VirtualClock
from tests.support.airflow_seams import calls, planted

pytestmark = pytest.mark.anyio


class Airflow:
    """Fake look-up of connections with a delay and a counter."""

    def __init__(self, hook: DingTalkHook) -> None:
        self.clock = VirtualClock()
        self.asked = 0
        self.error: ConfigurationError | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._settings = hook.settings()

    async def look_up(self) -> Settings:
        self.asked += 1
        await self.may_answer.wait()
        if self.error:
            raise self.error
        return self._settings

    def share(self, conn_id: str = "c") -> SharedConnection:
        return SharedConnection(conn_id, self.look_up, self.clock)


@pytest.fixture
async def airflow(hook: DingTalkHook) -> Airflow:
    return Airflow(hook)


async def test_all_who_ask_at_once_share_one_look_up(airflow: Airflow) -> None:
    shares = [airflow.share() for _ in range(500)]
    found = await asyncio.gather(*(share.settings() for share in shares))
    assert airflow.asked == 1
    assert len({id(settings) for settings in found}) == 1
    await shares[0].settings()
    assert airflow.asked == 1
    for share in shares:
        share.release()


async def test_it_is_looked_up_anew_after_a_minute(airflow: Airflow) -> None:
    share = airflow.share()
    for seconds, asked in ((0, 1), (LIFETIME - 1, 1), (1, 2), (LIFETIME, 3)):
        airflow.clock.advance(seconds)
        await share.settings()
        assert airflow.asked == asked
    share.release()


async def test_each_connection_has_its_own(airflow: Airflow) -> None:
    shares = [airflow.share("one"), airflow.share("two")]
    await asyncio.gather(*(share.settings() for share in shares))
    assert airflow.asked == 2
    assert sorted(_entries()) == ["one", "two"]
    for share in shares:
        share.release()


async def test_a_look_up_survives_the_cancellation_of_who_began_it(airflow: Airflow) -> None:
    airflow.may_answer.clear()
    first, second = (asyncio.ensure_future(airflow.share().settings()) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    airflow.may_answer.set()
    assert isinstance(await second, Settings)
    assert airflow.asked == 1


async def test_a_failed_look_up_is_told_to_all_and_kept_by_nobody(airflow: Airflow) -> None:
    airflow.error = ConfigurationError("none", permanent=False)
    shares = [airflow.share() for _ in range(5)]
    found: list[Any] = await asyncio.gather(*(share.settings() for share in shares), return_exceptions=True)
    assert [str(error) for error in found] == ["none"] * 5
    airflow.error = None
    await shares[0].settings()
    assert airflow.asked == 2
    for share in shares:
        share.release()


@pytest.mark.parametrize("permanent", [True, False])
async def test_while_airflow_is_down_what_was_known_is_good_enough(airflow: Airflow, permanent: bool) -> None:
    share = airflow.share()
    known = await share.settings()
    airflow.clock.advance(LIFETIME)
    airflow.error = ConfigurationError("gone", permanent=permanent)
    if permanent:
        with pytest.raises(ConfigurationError):
            await share.settings()
    else:
        assert await share.settings() is known
    share.release()


async def test_after_the_last_holder_nothing_is_kept(airflow: Airflow) -> None:
    shares = [airflow.share(), airflow.share()]
    for share in shares:
        await share.settings()
    shares[0].release()
    shares[0].release()
    assert sorted(_entries()) == ["c"], "released twice is released once"
    shares[1].release()
    assert sorted(_entries()) == []
    await shares[0].settings()
    assert airflow.asked == 2
    shares[0].release()


# ── triggers ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Look-ups in Airflow's own chain of secrets backends."""
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", "tests.support.counting_secrets.CountingBackend")
    from tests.support import counting_secrets

    counting_secrets.asked.clear()
    yield counting_secrets.asked
    counting_secrets.asked.clear()


async def test_a_hundred_triggers_take_one_look_up_and_one_token(
    sandbox: SandboxServer, hook: DingTalkHook, asked: Any
) -> None:
    receipts = planted(sandbox, "private_chat", 100)
    clock = VirtualClock()
    made = [
        DingTalkMessageTrigger(
            dingtalk_conn_id="dingtalk_default",
            wait_spec=wait_spec_of_receipts([receipt]).to_json(),
            poke_interval=None,
            end=clock.now() + 3600,
        )
        for receipt in receipts
    ]

    async def event_of(trigger: DingTalkMessageTrigger) -> Any:
        trigger.clock = clock
        return [event.payload async for event in trigger.run()]

    found = await asyncio.gather(*(event_of(trigger) for trigger in made))
    for trigger in made:
        await trigger.cleanup()
    assert [event["status"] for (event,) in found] == ["met"] * 100
    assert asked["dingtalk_default"] == 1
    assert calls(sandbox) == {"oauth2/accessToken": 1, "robot/privateChatMessages/query": 100}
    assert sorted(_entries()) == []
    await (await DingTalkHook().aclient()).aclose()
