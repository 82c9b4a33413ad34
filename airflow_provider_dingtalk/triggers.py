"""Triggers: waiting without a worker. They only look; taking back is for a task."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_dingtalk.api.clock import Clock, SystemClock
from airflow_provider_dingtalk.api.errors import DingTalkError
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.watching import Watch, error_event, look, met_event, timeout_event

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

#: Long waits after which a task gives up: an hour of bans.
MAX_WAITS = 12
#: Seconds that Airflow's own timer of a deferral leaves a trigger to end by itself.
MARGIN = 600.0


class DingTalkMomentTrigger(BaseTrigger):
    """Waits until a moment, while DingTalk wants no calls.

    :param moment: In seconds since the epoch: it holds across restarts of the triggerer.
    :param waits: Which wait of its task it is; it comes back in the event.
    """

    def __init__(self, *, moment: float, waits: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.moment = moment
        self.waits = waits
        self.clock: Clock = SystemClock()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How Airflow stores and rebuilds the trigger."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"moment": self.moment, "waits": self.waits}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait."""
        while (left := self.moment - self.clock.now()) > 0:
            await self.clock.sleep(left)
        yield TriggerEvent({"waits": self.waits})  # type: ignore[no-untyped-call]


def defer_for(operator: BaseOperator, seconds: float, event: Mapping[str, Any] | None) -> NoReturn:
    """Give the worker back and go on later, with the operator's ``go_on``.

    :param event: That of the wait before, if there was one.
    :raises DingTalkError: There were too many waits.
    """
    waits = int((event or {}).get("waits", 0)) + 1
    if waits > MAX_WAITS:
        raise DingTalkError(f"DingTalk still wants no calls after {MAX_WAITS} waits.", code="too_many_waits")
    moment = SystemClock().now() + seconds
    operator.log.info("DingTalk wants no calls: going on in %.0f s, without a worker meanwhile.", seconds)
    operator.defer(
        trigger=DingTalkMomentTrigger(moment=moment, waits=waits),
        method_name="go_on",
        timeout=dt.timedelta(seconds=seconds + MARGIN),
    )


class DingTalkMessageTrigger(BaseTrigger):
    """Waits until messages are as a sensor wants them.

    :param watch: Messages and conditions as plain JSON: ids, no secrets.
    :param poke_interval: Seconds between two looks.
    :param end: When to give up, in seconds since the epoch: it holds across restarts of the triggerer.
    :param with_readers: Whether the event names the readers.
    """

    def __init__(
        self,
        *,
        dingtalk_conn_id: str,
        watch: dict[str, Any],
        poke_interval: float,
        end: float,
        with_readers: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dingtalk_conn_id = dingtalk_conn_id
        self.watch = watch
        self.poke_interval = poke_interval
        self.end = end
        self.with_readers = with_readers
        self.clock: Clock = SystemClock()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How Airflow stores and rebuilds the trigger."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "dingtalk_conn_id": self.dingtalk_conn_id,
                "watch": self.watch,
                "poke_interval": self.poke_interval,
                "end": self.end,
                "with_readers": self.with_readers,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the conditions are met, cannot be met, or time is up."""
        yield TriggerEvent(await self._wait())  # type: ignore[no-untyped-call]

    async def _wait(self) -> dict[str, Any]:
        try:
            watch = Watch.from_json(self.watch)
            client = await DingTalkHook(self.dingtalk_conn_id).aclient()
            while True:
                seen = await look(client, watch, self.clock)
                if seen.is_met:
                    return met_event(seen, with_readers=self.with_readers)
                self.log.info("%s", seen.line())
                left = self.end - self.clock.now()
                if left <= 0:
                    return timeout_event()
                # The last look is at the end and not before it.
                await self.clock.sleep(min(self.poke_interval, left))
        except DingTalkError as error:
            return error_event(error)
