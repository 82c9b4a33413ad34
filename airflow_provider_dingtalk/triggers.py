"""Triggers that wait without a worker. They only poll; a recall needs a task."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

from airflow_provider_dingtalk.client.clock import Clock, SystemClock
from airflow_provider_dingtalk.exceptions import ConfigurationError, DingTalkError, InvalidInputError
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.jobs.poll_schedule import MAX_API_CALLS, MAX_GAP, poll_schedule_of
from airflow_provider_dingtalk.jobs.wait import RETRY_AFTER, Wait
from airflow_provider_dingtalk.language import choose, in_each_language
from airflow_provider_dingtalk.task.arguments import as_text, parse_count, parse_seconds, parse_task_ids
from airflow_provider_dingtalk.task.checkpoint.store import fingerprint
from airflow_provider_dingtalk.task.followed_runs import POLL_INTERVAL, WATCH_FOR, FollowedRuns, RunFeed
from airflow_provider_dingtalk.task.wait_events import error_event, met_event, payload_of, timeout_event
from airflow_provider_dingtalk.task.wait_spec import (
    WaitProgress,
    WaitSpec,
    check_wanted,
    new_wait_progress,
    wait_of,
    wait_spec_of_receipts,
)

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from airflow_provider_dingtalk.client.client import DingTalkClient
    from airflow_provider_dingtalk.connection.cache import SharedConnection

#: Maximum number of deferrals of a task, about an hour of bans.
MAX_WAITS = 12
#: Seconds that Airflow's deferral timeout leaves a trigger to end by itself.
MARGIN = 600.0


class _Trigger(BaseTrigger):
    """Base class of the triggers, which are rebuilt from their attributes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.clock: Clock = SystemClock()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and arguments that Airflow stores to rebuild the trigger."""
        arguments = {name: getattr(self, name) for name in self._stored()}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    def _stored(self) -> list[str]:
        raise NotImplementedError


class DingTalkDateTimeTrigger(_Trigger):
    """Trigger that waits until a point in time, while DingTalk refuses calls.

    :param moment: Seconds since 1970, so that it holds across restarts of the triggerer.
    :param waits: Number of this deferral of the task, from 1; the event returns it.
    """

    def __init__(self, *, moment: float, waits: int) -> None:
        super().__init__()
        self.moment = moment
        self.waits = waits

    def _stored(self) -> list[str]:
        return ["moment", "waits"]

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait until the moment, then yield one event."""
        while (left := self.moment - self.clock.now()) > 0:
            await self.clock.sleep(left)
        yield TriggerEvent({"waits": self.waits})  # type: ignore[no-untyped-call]


def defer_for(operator: BaseOperator, seconds: float, event: Mapping[str, Any] | None) -> NoReturn:
    """Defer the task, which resumes later in the operator's ``resume``.

    :param seconds: Time until the task resumes, in seconds.
    :param event: Event of the previous deferral; None for the first.
    :raises DingTalkError: If the task was deferred :data:`MAX_WAITS` times already.
    """
    waits = int((event or {}).get("waits", 0)) + 1
    if waits > MAX_WAITS:
        raise DingTalkError(
            f"DingTalk still accepts no calls after {MAX_WAITS} deferrals.",
            code="too_many_waits",
            message_zh=f"让出 {MAX_WAITS} 次后，钉钉仍不接受调用。",
        )
    moment = SystemClock().now() + seconds
    told = choose(
        f"DingTalk accepts no calls now; resuming in {seconds:.0f} s, without a worker until then.",
        f"钉钉目前不接受调用；{seconds:.0f} 秒后继续，期间不占用 worker。",
    )
    operator.log.info("%s", told)
    operator.defer(
        trigger=DingTalkDateTimeTrigger(moment=moment, waits=waits),
        method_name="resume",
        timeout=dt.timedelta(seconds=seconds + MARGIN),
    )


class _PollingTrigger(_Trigger):
    """Base class of polling triggers, with cached connections."""

    def __init__(self, *, dingtalk_conn_id: str) -> None:
        super().__init__()
        self.dingtalk_conn_id = dingtalk_conn_id
        self._connections: dict[str, SharedConnection] = {}

    async def cleanup(self) -> None:
        """Release the connections, however the trigger ended. Nothing is recalled here."""
        self._release()

    def _release(self) -> None:
        for connection in self._connections.values():
            connection.release()

    async def _client(self, conn_id: str | None) -> DingTalkClient:
        """Return the client of a connection; None means the trigger's connection."""
        conn_id = conn_id or self.dingtalk_conn_id
        if conn_id not in self._connections:
            self._connections[conn_id] = DingTalkHook.shared_connection(conn_id)
        return await DingTalkHook(conn_id).aclient(self._connections[conn_id])

    async def _poll(self, wait: Wait) -> None:
        """Poll once all messages that are due, each by its own connection."""
        await wait.poll(self._client)

    async def _sleep(self, wait: Wait) -> bool:
        """Sleep until a message is due; return False if nothing is left to wait for."""
        if (due := wait.next_due) is None:
            return False
        now = self.clock.now()
        if due <= now and wait.is_time_up:
            return False
        # A message that was due and could not be polled is due again after RETRY_AFTER.
        await self.clock.sleep(due - now if due > now else RETRY_AFTER)
        return True


class DingTalkMessageTrigger(_PollingTrigger):
    """Trigger that waits until messages meet a sensor's conditions.

    :param dingtalk_conn_id: Airflow connection of type ``dingtalk``.
    :param wait_spec: One or thousands of messages and the conditions, as plain JSON with ids and without secrets.
    :param poke_interval: Fixed interval between two polls in seconds; None for growing gaps. Ignored with
        ``wait_progress``.
    :param end: End of the wait in seconds since 1970, so that it holds across restarts of the triggerer.
    :param with_readers: Include the readers in the event; default False.
    :param wait_progress: Poll schedule and the worker's progress so far, as plain JSON; default None.
    """

    def __init__(
        self,
        *,
        dingtalk_conn_id: str,
        wait_spec: dict[str, Any],
        poke_interval: float | None,
        end: float,
        with_readers: bool = False,
        wait_progress: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(dingtalk_conn_id=dingtalk_conn_id)
        self.wait_spec = wait_spec
        self.poke_interval = poke_interval
        self.end = end
        self.with_readers = with_readers
        self.wait_progress = wait_progress

    def _stored(self) -> list[str]:
        names = ["dingtalk_conn_id", "wait_spec", "poke_interval", "end", "with_readers"]
        return [*names, "wait_progress"] if self.wait_progress else names

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until the conditions are met or unreachable, or until the timeout."""
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
                await self._poll(wait)
                self.log.info("%s", wait.summary())
                if not wait.is_met and not await self._sleep(wait):
                    return timeout_event()
            return met_event(wait.result())
        except DingTalkError as error:
            return error_event(error)
        finally:
            if wait is not None:
                self.log.info("%s", wait.usage())

    def _wait_of_arguments(self) -> Wait:
        wait_progress = (
            WaitProgress.from_json(self.wait_progress)
            if self.wait_progress
            else new_wait_progress(poll_schedule_of(self.poke_interval), self.clock.now(), MAX_API_CALLS)
        )
        wait_spec = WaitSpec.from_json(self.wait_spec)
        return wait_of(wait_spec, wait_progress, end=self.end, with_readers=self.with_readers, clock=self.clock)


def _no_event(error: DingTalkError) -> str:
    return f"{choose('No event will be made')}: {error}"


class DingTalkReadEventTrigger(_PollingTrigger, BaseEventTrigger):
    """Event trigger that fires when messages are delivered or read.

    For an ``AssetWatcher``, so that "read by 20" starts a DAG. A temporary error never ends it. A permanent error
    is logged, and no event is made.

    With ``receipts`` it watches messages that are known when the file is parsed, and fires once. Airflow 3.3
    stores that it fired; with earlier versions a restart of the triggerer repeats the event.

    With ``from_dag`` it watches the messages of each run of a DAG from the run's end on. Each run makes one event,
    which names the run. Runs that ended before the watcher began are not watched, and a cleared run is not watched
    again. This needs the asset state store of Airflow 3.3, and one asset for each watcher.

    :param receipts: Receipts of messages of any mixture of kinds, as plain JSON or JSON text.
    :param wanted: ``send_statuses``, ``min_readers``, ``min_read_share``, ``audience``, ``read_by``, ``match`` and
        ``fail_on_unreached``, as parameters of the sensors.
    :param from_dag: Id of a DAG whose messages are watched, instead of ``receipts``.
    :param from_tasks: Ids of its tasks that send; default None for all. Name them in a DAG of many tasks, because
        XComs are read one by one.
    :param dag_poll_interval: Seconds between two polls for new runs; default 60.
    :param watch_for: Seconds for which the messages of a run are watched; default a day.
    :param poke_interval: Fixed interval between two polls in seconds; default None for growing gaps.
    :param max_poke_interval: Longest gap between two polls in seconds, where gaps grow; default 7200.
    :param max_api_calls: Number of API calls after which the wait fails; default 1000. With ``from_dag`` it holds
        for each run.
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
        # Airflow 3.3.2 compares hashes of a watcher's arguments before and after its own encoding. For a list of
        # dicts they differ, and Airflow drops the watcher without an error, so the arguments are kept as text.
        self.receipts = as_text(receipts, "receipts")
        self.wanted = as_text({} if wanted is None else wanted, "wanted")
        self.from_dag = from_dag
        self.from_tasks = as_text(from_tasks, "from_tasks")
        self.dag_poll_interval = parse_seconds(dag_poll_interval, "dag_poll_interval")
        self.watch_for = parse_seconds(watch_for, "watch_for")
        self.poke_interval = None if poke_interval is None else parse_seconds(poke_interval, "poke_interval")
        self.max_poke_interval = parse_seconds(max_poke_interval, "max_poke_interval")
        self.max_api_calls = max_api_calls

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and arguments that Airflow stores, which it does when it parses the DAG file.

        :raises InvalidInputError: If an argument is invalid.
        """
        # The triggerer makes the trigger anew, and an error in its constructor ends the triggerer of Airflow 3.3.2.
        self._check()
        return super().serialize()

    def _stored(self) -> list[str]:
        names = ["receipts", "wanted", "dingtalk_conn_id", "poke_interval", "max_poke_interval", "max_api_calls"]
        return names if self.from_dag is None else [*names, "from_dag", "from_tasks", "dag_poll_interval", "watch_for"]

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the events, then wait until the triggerer cancels the trigger.

        Airflow restarts a watcher that ends, from its first line and without limit.
        """
        try:
            async with aclosing(self._payloads()) as payloads:
                async for payload in payloads:
                    yield TriggerEvent(payload)  # type: ignore[no-untyped-call]
            await self._wait_for_cancellation()
        finally:
            self._release()

    async def _wait_for_cancellation(self) -> None:
        self._release()
        await asyncio.get_running_loop().create_future()

    async def _payloads(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the payloads of the events."""
        # Code after a yield runs once Airflow has taken the event, so a crash repeats the event, never loses it.
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
            self.log.error("%s", in_each_language(partial(_no_event, error), " "))

    def _check(self) -> None:
        if (self.from_dag is None) == (self.receipts is None):
            raise InvalidInputError("receipts", "give receipts, or from_dag, and not both")
        parse_count(self.max_api_calls, "max_api_calls", 1)
        for name in ("dag_poll_interval", "watch_for", "max_poke_interval"):
            parse_seconds(getattr(self, name), name, allow_zero=False)
        parse_task_ids(self.from_tasks, "from_tasks")
        if self.receipts is None:
            check_wanted(self._conditions())
        else:
            wait_spec_of_receipts(self.receipts, **self._conditions())

    async def _of_receipts(self) -> dict[str, Any]:
        wait = self._wait_of(self.receipts, end=None)
        self.log.info("%s", wait.estimate())
        while not wait.is_met:
            await self._poll(wait)
            if not wait.is_met:
                await self._sleep(wait)
        self.log.info("%s", wait.usage())
        return payload_of(wait)

    async def _of_runs(self, dag_id: str) -> AsyncGenerator[dict[str, Any], None]:
        runs = self._followed(dag_id)
        while True:
            await runs.poll_runs()
            for run_id, wait in await runs.poll_messages(self._poll):
                met = choose(f"The messages of the run {run_id} are as wanted.", f"运行 {run_id} 的消息已满足条件。")
                self.log.info("%s %s", met, wait.usage())
                yield {**payload_of(wait), "dag_id": dag_id, "run_id": run_id}
                await runs.mark_done(run_id)
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
            store_key=f"dingtalk-read-runs-1-{fingerprint(dag_id, tasks, self._conditions())}",
            interval=self.dag_poll_interval,
            clock=self.clock,
        )

    def _feed(self, dag_id: str, tasks: list[str]) -> RunFeed:
        return RunFeed(dag_id, tasks)

    def _wait_of(self, receipts: Any, *, end: float | None) -> Wait:
        poll_schedule = poll_schedule_of(self.poke_interval, longest=self.max_poke_interval)
        wait_progress = new_wait_progress(poll_schedule, self.clock.now(), self.max_api_calls)
        return wait_of(wait_spec_of_receipts(receipts, **self._conditions()), wait_progress, end=end, clock=self.clock)

    def _conditions(self) -> dict[str, Any]:
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
            # The same messages in another order must make the same fingerprint.
            receipts = sorted(receipts, key=lambda one: msgspec.json.encode(one, order="sorted"))
        return f"dingtalk-read-1-{fingerprint(receipts, self._conditions())}"

    async def _has_fired(self) -> bool:
        store = getattr(self, "asset_state_store", None)  # Airflow 3.3
        try:
            return store is not None and bool(await store.aget(self._mark()))
        except Exception as error:  # several assets, or a failing store: as without a store
            told = choose("Whether the event was made before is not known", "无法得知该事件此前是否已产生")
            self.log.warning("%s (%s).", told, type(error).__name__)
            return False

    async def _note_fired(self) -> None:
        store = getattr(self, "asset_state_store", None)
        try:
            if store is not None:
                await store.aset(self._mark(), True)
        except Exception as error:
            told = choose("After a restart the event may be made again", "重启后可能再次产生该事件")
            self.log.warning("%s (%s).", told, type(error).__name__)
