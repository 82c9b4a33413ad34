"""Triggers: waiting without a worker. They only look; taking back is for a task."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

from airflow_provider_dingtalk.api.clock import Clock, SystemClock
from airflow_provider_dingtalk.api.errors import DingTalkError
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.messaging.spacing import MAX_API_CALLS, MAX_GAP, spacing_of
from airflow_provider_dingtalk.messaging.waiting import RETRY_AFTER, Wait
from airflow_provider_dingtalk.task_ledger.store import fingerprint
from airflow_provider_dingtalk.watching import (
    Pacing,
    Watch,
    error_event,
    fresh_pacing,
    met_event,
    timeout_event,
    wait_of,
    watch_of_receipts,
)

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from airflow_provider_dingtalk.api.client import DingTalkClient
    from airflow_provider_dingtalk.lookups import SharedLookup

#: Long waits after which a task gives up: an hour of bans.
MAX_WAITS = 12
#: Seconds that Airflow's own timer of a deferral leaves a trigger to end by itself.
MARGIN = 600.0
#: Messages that an asset's event names: its payload is kept with the asset for ever.
KEYS_IN_PAYLOAD = 20


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


class _LookingTrigger(BaseTrigger):
    """What the triggers that look have in common: a shared connection look-up, and a clock."""

    def __init__(self, *, dingtalk_conn_id: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dingtalk_conn_id = dingtalk_conn_id
        self.clock: Clock = SystemClock()
        self._lookups: dict[str, SharedLookup] = {}

    async def cleanup(self) -> None:
        """Let go of the connections, whatever ended the trigger. Nothing is taken back here."""
        self._release()

    def _release(self) -> None:
        for lookup in self._lookups.values():
            lookup.release()

    async def _client(self, conn_id: str | None) -> DingTalkClient:
        """The client of a connection; that of the trigger if none is named."""
        conn_id = conn_id or self.dingtalk_conn_id
        if conn_id not in self._lookups:
            self._lookups[conn_id] = DingTalkHook.shared_lookup(conn_id)
        return await DingTalkHook(conn_id).aclient(self._lookups[conn_id])

    async def _look(self, wait: Wait) -> None:
        """Look once at all that is due, each message by its own connection.

        :raises DingTalkError: If waiting is pointless.
        """
        await wait.look(self._client)

    async def _sleep(self, wait: Wait) -> bool:
        """Sleep until something is due. What was due and could not be asked is due again in half a minute.

        :returns: Whether there is anything left to wait for.
        """
        if (due := wait.next_due) is None:
            return False
        now = self.clock.now()
        if due <= now and wait.is_time_up:
            return False
        await self.clock.sleep(due - now if due > now else RETRY_AFTER)
        return True


class DingTalkMessageTrigger(_LookingTrigger):
    """Waits until messages, one or thousands, are as a sensor wants them.

    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``.
    :param watch: Messages and conditions as plain JSON: ids, no secrets.
    :param poke_interval: Seconds between two looks; None: growing gaps. Without ``pacing`` only.
    :param end: When to give up, in seconds since the epoch: it holds across restarts of the triggerer.
    :param with_readers: Whether the event names the readers.
    :param pacing: When to look, and how far the worker came before, as plain JSON.
    """

    def __init__(
        self,
        *,
        dingtalk_conn_id: str,
        watch: dict[str, Any],
        poke_interval: float | None,
        end: float,
        with_readers: bool = False,
        pacing: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(dingtalk_conn_id=dingtalk_conn_id)
        self.watch = watch
        self.poke_interval = poke_interval
        self.end = end
        self.with_readers = with_readers
        self.pacing = pacing

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
                **({"pacing": self.pacing} if self.pacing else {}),
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the conditions are met, cannot be met, or time is up."""
        try:
            yield TriggerEvent(await self._wait())  # type: ignore[no-untyped-call]
        finally:
            self._release()

    async def _wait(self) -> dict[str, Any]:
        wait: Wait | None = None
        try:
            wait = self._wait_of_arguments()
            self.log.info("%s", wait.estimate())
            while not wait.is_met:
                await self._look(wait)
                self.log.info("%s", wait.line())
                if not wait.is_met and not await self._sleep(wait):
                    return timeout_event()
            return met_event(wait.result())
        except DingTalkError as error:
            return error_event(error)
        finally:
            if wait is not None:
                self.log.info("%s", wait.bill())

    def _wait_of_arguments(self) -> Wait:
        pacing = (
            Pacing.from_json(self.pacing)
            if self.pacing
            else fresh_pacing(spacing_of(self.poke_interval), self.clock.now(), MAX_API_CALLS)
        )
        watch = Watch.from_json(self.watch)
        return wait_of(watch, pacing, end=self.end, with_readers=self.with_readers, clock=self.clock)


class DingTalkReadEventTrigger(_LookingTrigger, BaseEventTrigger):
    """Makes an asset's event when messages are delivered, or read: "read by 20" starts a DAG.

    For an ``AssetWatcher``. It fires once. Airflow 3.3 remembers that; before it a restart of the triggerer makes
    the event again. What passes by itself never ends it; what does not is logged, and no event is made.

    :param receipts: Receipts of messages, of any mixture of kinds, as plain JSON.
    :param wanted: ``send_statuses``, ``min_readers``, ``min_read_share``, ``audience``, ``read_by``, ``match``,
        as the sensors have them.
    :param poke_interval: Seconds between two looks; None: growing gaps.
    :param max_poke_interval: Seconds between two looks at most, where gaps grow.
    :param max_api_calls: Calls after which it gives up.
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``.
    """

    def __init__(
        self,
        *,
        receipts: list[dict[str, Any]],
        wanted: dict[str, Any] | None = None,
        dingtalk_conn_id: str = "dingtalk_default",
        poke_interval: float | None = None,
        max_poke_interval: float = MAX_GAP,
        max_api_calls: int = MAX_API_CALLS,
    ) -> None:
        super().__init__(dingtalk_conn_id=dingtalk_conn_id)
        self.receipts = receipts
        self.wanted = wanted or {}
        self.poke_interval = poke_interval
        self.max_poke_interval = max_poke_interval
        self.max_api_calls = max_api_calls

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How Airflow stores and rebuilds the trigger."""
        names = (
            "receipts",
            "wanted",
            "dingtalk_conn_id",
            "poke_interval",
            "max_poke_interval",
            "max_api_calls",
        )
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Make the event, then stay: Airflow starts a watcher that ends from its first line, again and again."""
        try:
            if not await self._has_fired() and (payload := await self._wait()) is not None:
                yield TriggerEvent(payload)  # type: ignore[no-untyped-call]
                # After the event and not before: rather made twice than never.
                await self._note_fired()
            await self._rest()
        finally:
            self._release()

    async def _rest(self) -> None:
        """Stay without doing anything, until Airflow wants the trigger no more."""
        self._release()
        await asyncio.get_running_loop().create_future()

    async def _wait(self) -> dict[str, Any] | None:
        try:
            wait = self._wait_of_arguments()
            self.log.info("%s", wait.estimate())
            while not wait.is_met:
                await self._look(wait)
                if not wait.is_met:
                    await self._sleep(wait)
        except DingTalkError as error:
            self.log.error("No event will be made: %s", error)
            return None
        self.log.info("%s", wait.bill())
        seen = [message for message in wait.result() if message["send_status"] is not None]
        return {
            "status": "met",
            "messages": len(seen),
            "keys": [message["key"] for message in seen[:KEYS_IN_PAYLOAD]],
            "readers": sum(message["readers"] or 0 for message in seen),
        }

    def _wait_of_arguments(self) -> Wait:
        spacing = spacing_of(self.poke_interval, longest=self.max_poke_interval)
        pacing = fresh_pacing(spacing, self.clock.now(), self.max_api_calls)
        return wait_of(watch_of_receipts(self.receipts, **self.wanted), pacing, end=None, clock=self.clock)

    def _mark(self) -> str:
        return f"dingtalk-read-1-{fingerprint(self.receipts, self.wanted)}"

    async def _has_fired(self) -> bool:
        store = getattr(self, "asset_state_store", None)  # Airflow 3.3
        try:
            return store is not None and bool(await store.aget(self._mark()))
        except Exception as error:  # several assets, or a store that is down: as if there were none
            self.log.warning("Whether the event was made before is not known (%s).", type(error).__name__)
            return False

    async def _note_fired(self) -> None:
        store = getattr(self, "asset_state_store", None)
        try:
            if store is not None:
                await store.aset(self._mark(), True)
        except Exception as error:
            self.log.warning("After a restart the event may be made again (%s).", type(error).__name__)
