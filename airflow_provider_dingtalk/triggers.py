"""Triggers: waiting without a worker. They only look; taking back is for a task."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

from airflow_provider_dingtalk.api.clock import Clock, SystemClock
from airflow_provider_dingtalk.api.errors import ConfigurationError, DingTalkError, InvalidInputError
from airflow_provider_dingtalk.execution import parse_task_ids
from airflow_provider_dingtalk.followed_runs import POLL_INTERVAL, WATCH_FOR, FollowedRuns, RunFeed
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.messaging.spacing import MAX_API_CALLS, MAX_GAP, spacing_of
from airflow_provider_dingtalk.messaging.waiting import RETRY_AFTER, Wait
from airflow_provider_dingtalk.task_ledger.store import fingerprint
from airflow_provider_dingtalk.trigger_arguments import as_text, payload_of, seconds_of
from airflow_provider_dingtalk.watching import (
    Pacing,
    Watch,
    check_wanted,
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

    For an ``AssetWatcher``. What passes by itself never ends it; what does not is logged, and no event is made.

    With ``receipts`` it watches messages that are known when the file is parsed, and fires once. Airflow 3.3
    remembers that; before it a restart of the triggerer makes the event again.

    With ``from_dag`` it watches what a DAG will send: each run from its end on. Each run makes one event, which
    names the run. Runs that were over when the watcher began are not watched, and a cleared run is not watched
    again. That needs the asset state store of Airflow 3.3, and one asset for each watcher.

    :param receipts: Receipts of messages, of any mixture of kinds, as plain JSON or its text.
    :param wanted: ``send_statuses``, ``min_readers``, ``min_read_share``, ``audience``, ``read_by``, ``match``,
        ``fail_on_unreached``, as the sensors have them.
    :param from_dag: Id of a DAG whose messages are watched, instead of ``receipts``.
    :param from_tasks: Ids of its tasks that send; None: all. Name them in a DAG of many tasks, for XComs are read
        one by one.
    :param dag_poll_interval: Seconds between two polls for new runs; default 60.
    :param watch_for: Seconds for which the messages of a run are watched; default a day.
    :param poke_interval: Seconds between two looks; None: growing gaps.
    :param max_poke_interval: Seconds between two looks at most, where gaps grow.
    :param max_api_calls: Calls after which it gives up; with ``from_dag`` those of each run.
    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``, for receipts that name none.
    """

    def __init__(
        self,
        *,
        receipts: Any = None,
        wanted: Any = None,
        from_dag: str | None = None,
        from_tasks: Any = None,
        dag_poll_interval: float | dt.timedelta = POLL_INTERVAL,
        watch_for: float | dt.timedelta = WATCH_FOR,
        dingtalk_conn_id: str = "dingtalk_default",
        poke_interval: float | dt.timedelta | None = None,
        max_poke_interval: float | dt.timedelta = MAX_GAP,
        max_api_calls: int = MAX_API_CALLS,
    ) -> None:
        super().__init__(dingtalk_conn_id=dingtalk_conn_id)
        # As text: Airflow 3.3.2 compares hashes of a watcher's arguments before and after its own encoding. They
        # differ for a list of dicts, and it then drops the watcher without a word.
        self.receipts = as_text(receipts, "receipts")
        self.wanted = as_text({} if wanted is None else wanted, "wanted")
        self.from_dag = from_dag
        self.from_tasks = as_text(from_tasks, "from_tasks")
        self.dag_poll_interval = seconds_of(dag_poll_interval)
        self.watch_for = seconds_of(watch_for)
        self.poke_interval = seconds_of(poke_interval)
        self.max_poke_interval = seconds_of(max_poke_interval)
        self.max_api_calls = max_api_calls

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How Airflow stores and rebuilds the trigger."""
        names = ["receipts", "wanted", "dingtalk_conn_id", "poke_interval", "max_poke_interval", "max_api_calls"]
        if self.from_dag is not None:
            names += ["from_dag", "from_tasks", "dag_poll_interval", "watch_for"]
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Make the events, then stay: Airflow starts a watcher that ends from its first line, again and again."""
        try:
            async with aclosing(self._payloads()) as payloads:
                async for payload in payloads:
                    yield TriggerEvent(payload)  # type: ignore[no-untyped-call]
            await self._rest()
        finally:
            self._release()

    async def _rest(self) -> None:
        """Stay without doing anything, until Airflow wants the trigger no more."""
        self._release()
        await asyncio.get_running_loop().create_future()

    async def _payloads(self) -> AsyncGenerator[dict[str, Any], None]:
        """Payloads of the events; what follows one is done after Airflow took it: rather made twice than never."""
        try:
            self._check()
            if self.from_dag is not None:
                async with aclosing(self._of_runs(self.from_dag)) as payloads:
                    async for payload in payloads:
                        yield payload
            elif not await self._has_fired():
                yield await self._of_receipts()
                await self._note_fired()
        except DingTalkError as error:
            self.log.error("No event will be made: %s", error)

    def _check(self) -> None:
        if (self.from_dag is None) == (self.receipts is None):
            raise InvalidInputError("receipts", "give receipts, or from_dag, and not both")
        check_wanted(self._conditions())

    async def _of_receipts(self) -> dict[str, Any]:
        wait = self._wait_of(self.receipts, end=None)
        self.log.info("%s", wait.estimate())
        while not wait.is_met:
            await self._look(wait)
            if not wait.is_met:
                await self._sleep(wait)
        self.log.info("%s", wait.bill())
        return payload_of(wait)

    async def _of_runs(self, dag_id: str) -> AsyncGenerator[dict[str, Any], None]:
        runs = self._followed(dag_id)
        while True:
            await runs.poll()
            for run_id, wait in await runs.look(self._look):
                self.log.info("The messages of the run %s are as wanted. %s", run_id, wait.bill())
                yield {**payload_of(wait), "dag_id": dag_id, "run_id": run_id}
                await runs.note_done(run_id)
            await self.clock.sleep(runs.pause)

    def _followed(self, dag_id: str) -> FollowedRuns:
        store = getattr(self, "asset_state_store", None)
        if store is None:
            raise ConfigurationError(
                "from_dag: this Airflow keeps nothing for assets (3.3 does), so that runs could be forgotten.",
                next_step="Use Airflow 3.3 or later, or a sensor in the DAG that sends.",
            )
        tasks = parse_task_ids(self.from_tasks, "from_tasks")
        return FollowedRuns(
            self._feed(dag_id, tasks),
            lambda receipts: self._wait_of(receipts, end=self.clock.now() + self.watch_for),
            store=store,
            mark=f"dingtalk-read-runs-1-{fingerprint(dag_id, tasks, self._conditions())}",
            interval=self.dag_poll_interval,
            clock=self.clock,
        )

    def _feed(self, dag_id: str, tasks: list[str]) -> RunFeed:
        return RunFeed(dag_id, tasks)

    def _wait_of(self, receipts: Any, *, end: float | None) -> Wait:
        spacing = spacing_of(self.poke_interval, longest=self.max_poke_interval)
        pacing = fresh_pacing(spacing, self.clock.now(), self.max_api_calls)
        return wait_of(watch_of_receipts(receipts, **self._conditions()), pacing, end=end, clock=self.clock)

    def _conditions(self) -> dict[str, Any]:
        """Read the conditions.

        :raises InvalidInputError: If ``wanted`` is no object.
        """
        try:
            return msgspec.json.decode(self.wanted or "{}", type=dict[str, Any])
        except msgspec.DecodeError:
            raise InvalidInputError("wanted", "Invalid wanted; expected conditions by their names") from None

    def _mark(self) -> str:
        try:
            receipts = msgspec.json.decode(self.receipts or "null")
        except msgspec.DecodeError:
            receipts = self.receipts
        if isinstance(receipts, list):
            # The same messages in another order are the same event.
            receipts = sorted(receipts, key=lambda one: msgspec.json.encode(one, order="sorted"))
        return f"dingtalk-read-1-{fingerprint(receipts, self._conditions())}"

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
