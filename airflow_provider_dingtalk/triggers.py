"""Triggers: waiting without a worker. They only look; taking back is for a task."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_dingtalk.api.clock import SystemClock
from airflow_provider_dingtalk.api.errors import DingTalkError
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.watching import Watch, error_event, look, met_event, timeout_event


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
        self.clock = SystemClock()

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
