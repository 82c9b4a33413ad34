"""Polls of a sensor in a worker, and the state between them."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_dingtalk.client.clock import Clock, SystemClock
from airflow_provider_dingtalk.exceptions import CheckpointError, DingTalkError, InvalidInputError
from airflow_provider_dingtalk.jobs.poll_schedule import PollSchedule, poll_schedule_of
from airflow_provider_dingtalk.jobs.wait import Wait
from airflow_provider_dingtalk.task.arguments import check_choices
from airflow_provider_dingtalk.task.checkpoint.wait import WaitTaskCheckpoint
from airflow_provider_dingtalk.task.recall import clear_count_of
from airflow_provider_dingtalk.task.wait_spec import WaitProgress, WaitSpec, new_wait_progress, wait_of
from airflow_provider_dingtalk.version_compat import AirflowFailException, AirflowSkipException, AirflowTaskTimeout

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_dingtalk.hooks import DingTalkHook

log = logging.getLogger(__name__)


class WaitingSensor(Protocol):
    """Sensor attributes that a wait needs."""

    timeout: float
    poke_interval: float
    is_interval_given: bool
    max_poke_interval: Any
    max_wait: Any
    exponential_backoff: bool
    max_api_calls: int
    push_readers: bool
    deferrable: bool
    soft_fail: bool
    never_fail: bool
    silent_fail: bool

    @property
    def reschedule(self) -> bool:
        """True if each poll is a process of its own."""


@contextmanager
def errors_as_in_poke(sensor: WaitingSensor) -> Iterator[None]:
    """Handle the errors of a poll as Airflow's sensor base class does.

    It serves polls that run outside of the base class.

    :raises AirflowSkipException: If the sensor skips on errors.
    """
    try:
        yield
    except (AirflowFailException, AirflowTaskTimeout) as error:
        if sensor.soft_fail or sensor.never_fail:
            raise AirflowSkipException(str(error)) from error
        raise
    except AirflowSkipException:
        raise
    except Exception as error:
        if sensor.silent_fail:
            log.exception("The first look failed.")
        elif sensor.never_fail:
            raise AirflowSkipException(str(error)) from error
        else:
            raise


def poll_from_task(
    sensor: WaitingSensor,
    wait: Wait | None,
    wait_spec: Callable[[], WaitSpec],
    hook: DingTalkHook,
    *,
    context: Context,
    clock: Clock | None = None,
) -> Wait | None:
    """Poll once, with the given wait or the last poll's state.

    :param wait: Wait of the poll before, if it ran in this process.
    :param wait_spec: Function that makes the messages and the condition; called only without a wait.
    :param clock: Clock of the wait; default None, which means the system's clock.
    :returns: None if the connection is not available now; the first poll raises an error then.
    :raises DingTalkError: If waiting is pointless.
    """
    first = _first_reschedule(sensor, context) if wait is None else None
    try:
        if wait is None:
            return _first_look(sensor, wait_spec(), hook, context=context, first=first, clock=clock or SystemClock())
        _look(hook, wait)
    except DingTalkError as error:
        if error.permanent or (wait is None and first is None):
            raise
        log.warning("%s", error)
        return wait
    _say(wait)
    return wait


def _first_look(
    sensor: WaitingSensor,
    watched: WaitSpec,
    hook: DingTalkHook,
    *,
    context: Context,
    first: float | None,
    clock: Clock,
) -> Wait:
    """Run the first poll of this process.

    The first poll of the wait may have run in another process.

    :param first: Unix time in seconds of the wait's first poll; None if this is it.
    """
    began = clock.now() if first is None else first
    checkpoint = _checkpoint(sensor, watched, context)
    if first is None and _needs_checkpoint(sensor) and checkpoint is None:
        log.warning("This Airflow has no task state store (3.3 has): each look asks again for what is known.")
    wait_progress = new_wait_progress(
        poll_schedule_for(sensor), began, sensor.max_api_calls, checkpoint.load() if checkpoint else None
    )
    wait = wait_of(watched, wait_progress, end=began + sensor.timeout, with_readers=sensor.push_readers, clock=clock)
    try:
        _look(hook, wait)
    finally:
        if checkpoint:
            _save(checkpoint, wait)
    _say(wait)
    if first is None and not wait.is_met:
        log.info("%s", wait.estimate())
    return wait


def _look(hook: DingTalkHook, wait: Wait) -> None:
    """Poll once, with the client of each message's own connection.

    :raises DingTalkError: If waiting is pointless, or no connection can be read.
    """
    hook.run_by_connection(wait.poll, wait.connections)


def end_of_nothing(on_empty: str) -> list[Any]:
    """End a sensor that was given no message, as ``on_empty`` says.

    :raises AirflowSkipException: If ``on_empty`` is ``skip``.
    :raises InvalidInputError: If it is ``fail``, or not a valid choice.
    """
    check_choices(on_empty, ())
    log.info("Nothing to wait for.")
    if on_empty == "skip":
        raise AirflowSkipException("Nothing to wait for.")
    if on_empty == "fail":
        raise InvalidInputError("receipts", "is empty: nothing to wait for")
    return []


def _say(wait: Wait) -> None:
    log.info("%s", wait.summary())
    if wait.is_met or wait.next_due is None:
        log.info("%s", wait.usage())


def wait_progress_for_trigger(sensor: WaitingSensor, wait: Wait | None) -> tuple[WaitSpec, WaitProgress]:
    """Return the arguments with which a trigger resumes after the first poll.

    :raises DingTalkError: If the first poll failed so early that nothing is known.
    """
    if wait is None:
        raise DingTalkError("There is nothing to hand to a trigger: the first look failed.", code="no_look")
    return WaitSpec(tuple(wait.targets), wait.condition), new_wait_progress(
        poll_schedule_for(sensor), wait.wait_options.began, wait.wait_options.max_api_calls, wait.state()
    )


def poll_schedule_for(sensor: WaitingSensor) -> PollSchedule:
    """Return the poll schedule of a sensor.

    :raises InvalidInputError: If ``max_poke_interval`` or ``max_wait`` is not a duration.
    """
    longest = _seconds(sensor.max_poke_interval, "max_poke_interval")
    if sensor.max_wait is not None:
        longest = min(longest, _seconds(sensor.max_wait, "max_wait"))
    interval = float(sensor.poke_interval) if sensor.is_interval_given else None
    return poll_schedule_of(interval, grows=bool(sensor.exponential_backoff), longest=longest)


def _seconds(value: Any, field: str) -> float:
    seconds = value.total_seconds() if isinstance(value, dt.timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise InvalidInputError(field, "must be seconds or a timedelta, more than 0")
    return float(seconds)


def _first_reschedule(sensor: WaitingSensor, context: Context) -> float | None:
    """Return the first poll's Unix time, if another worker ran it."""
    if not sensor.reschedule or sensor.deferrable:
        return None
    first = context["ti"].get_first_reschedule_date(context)
    return None if first is None else float(first.timestamp())


def _needs_checkpoint(sensor: WaitingSensor) -> bool:
    """Return True if a wait needs a checkpoint between its polls.

    Each poll is then a process of its own.
    """
    return sensor.reschedule and not sensor.deferrable


def _checkpoint(sensor: WaitingSensor, watched: WaitSpec, context: Context) -> WaitTaskCheckpoint | None:
    """Return the checkpoint of a rescheduled wait; None before Airflow 3.3."""
    store = context.get("task_state_store")
    if store is None or not _needs_checkpoint(sensor):
        return None
    return WaitTaskCheckpoint(store, watched.targets, watched.condition, clear_count_of(context))


def _save(checkpoint: WaitTaskCheckpoint, wait: Wait) -> None:
    try:
        checkpoint.save(wait.state())
    except CheckpointError as error:
        # Only the progress is lost, so the next poll asks for more messages than it needs to.
        log.warning("%s", error)
