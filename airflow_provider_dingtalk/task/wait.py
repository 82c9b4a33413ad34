"""Polls of a sensor in a worker, and the state between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_dingtalk.client.clock import Clock, SystemClock
from airflow_provider_dingtalk.exceptions import CheckpointError, DingTalkError, InvalidInputError
from airflow_provider_dingtalk.jobs.poll_schedule import PollSchedule, poll_schedule_of
from airflow_provider_dingtalk.jobs.wait import Wait
from airflow_provider_dingtalk.language import choose, get_logger
from airflow_provider_dingtalk.task.api_server import waiting_for_server
from airflow_provider_dingtalk.task.arguments import check_choices, parse_seconds
from airflow_provider_dingtalk.task.checkpoint.wait import WaitTaskCheckpoint
from airflow_provider_dingtalk.task.recall import clear_count_of
from airflow_provider_dingtalk.task.wait_spec import WaitProgress, WaitSpec, new_wait_progress, wait_of
from airflow_provider_dingtalk.version_compat import AirflowFailException, AirflowSkipException, AirflowTaskTimeout

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_dingtalk.task.hook_protocol import Hook

log = get_logger(__name__)


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
    """Handle the errors of a poll outside of Airflow's sensor base class as that class does.

    :raises AirflowSkipException: If the sensor skips on errors.
    """
    try:
        yield
    except AirflowSkipException:
        raise
    except (AirflowFailException, AirflowTaskTimeout) as error:
        if sensor.soft_fail or sensor.never_fail:
            raise AirflowSkipException(str(error)) from error
        raise
    except Exception as error:
        if sensor.silent_fail:
            log.exception("The first poll failed.")
        elif sensor.never_fail:
            raise AirflowSkipException(str(error)) from error
        else:
            raise


def poll_from_task(
    sensor: WaitingSensor,
    wait: Wait | None,
    wait_spec: Callable[[], WaitSpec],
    hook: Hook,
    *,
    context: Context,
    clock: Clock | None = None,
) -> Wait | None:
    """Poll once, with the given wait or the last poll's state.

    :param wait: Wait of the poll before, if it ran in this process.
    :param wait_spec: Function that makes the messages and the condition; called only without a wait.
    :param clock: Clock of the wait; default None, which means the system's clock.
    :returns: None if the connection is not available now; the first poll raises an error then.
    :raises DingTalkError: If the wait can no longer succeed.
    """
    context = waiting_for_server(context)
    first = _first_reschedule(sensor, context) if wait is None else None
    try:
        if wait is None:
            return _first_poll(sensor, wait_spec(), hook, context=context, first=first, clock=clock or SystemClock())
        hook.run_by_connection(wait.poll, wait.connections)
    except DingTalkError as error:
        if error.permanent or (wait is None and first is None):
            raise
        log.warning("%s", error)
        return wait
    _log_progress(wait)
    return wait


def _first_poll(
    sensor: WaitingSensor, wait_spec: WaitSpec, hook: Hook, *, context: Context, first: float | None, clock: Clock
) -> Wait:
    """Run the first poll of this process; ``first`` is the Unix time of the wait's first poll, if it was earlier."""
    began = clock.now() if first is None else first
    checkpoint = _checkpoint(wait_spec, context) if _is_rescheduled(sensor) else None
    if first is None and _is_rescheduled(sensor) and checkpoint is None:
        log.warning("This Airflow has no task state store (3.3 has): each poll asks again for what is known.")
    state = checkpoint.load() if checkpoint else None
    wait_progress = new_wait_progress(poll_schedule_for(sensor), began, sensor.max_api_calls, state)
    wait = wait_of(wait_spec, wait_progress, end=began + sensor.timeout, with_readers=sensor.push_readers, clock=clock)
    try:
        hook.run_by_connection(wait.poll, wait.connections)
    finally:
        if checkpoint:
            _save(checkpoint, wait)
    _log_progress(wait)
    if first is None and not wait.is_met:
        log.info("%s", wait.estimate())
    return wait


def _log_progress(wait: Wait) -> None:
    log.info("%s", wait.summary())
    if wait.is_met or wait.next_due is None:
        log.info("%s", wait.usage())


def result_of_nothing(on_empty: str) -> list[Any]:
    """Return the result of a sensor that was given no message, as ``on_empty`` says.

    :raises AirflowSkipException: If ``on_empty`` is ``skip``.
    :raises InvalidInputError: If it is ``fail``, or not a valid choice.
    """
    check_choices(on_empty, ())
    nothing = choose("Nothing to wait for.", "没有需要等待的消息。")
    log.info("%s", nothing)
    if on_empty == "skip":
        raise AirflowSkipException(nothing)
    if on_empty == "fail":
        raise InvalidInputError("receipts", "is empty: nothing to wait for", "为空：没有需要等待的消息")
    return []


def wait_progress_for_trigger(sensor: WaitingSensor, wait: Wait | None) -> tuple[WaitSpec, WaitProgress]:
    """Return the arguments with which a trigger resumes after the first poll.

    :raises DingTalkError: If the first poll failed so early that nothing is known.
    """
    if wait is None:
        raise DingTalkError("There is nothing to hand to a trigger: the first poll failed.", code="no_look")
    options = wait.wait_options
    return WaitSpec(tuple(wait.targets), wait.condition), new_wait_progress(
        poll_schedule_for(sensor), options.began, options.max_api_calls, wait.state()
    )


def poll_schedule_for(sensor: WaitingSensor) -> PollSchedule:
    """Return the poll schedule of a sensor.

    :raises InvalidInputError: If ``max_poke_interval`` or ``max_wait`` is not a duration.
    """
    longest = parse_seconds(sensor.max_poke_interval, "max_poke_interval", allow_zero=False)
    if sensor.max_wait is not None:
        longest = min(longest, parse_seconds(sensor.max_wait, "max_wait", allow_zero=False))
    interval = float(sensor.poke_interval) if sensor.is_interval_given else None
    return poll_schedule_of(interval, grows=bool(sensor.exponential_backoff), longest=longest)


# ── polls in processes of their own ──────────────────────────────────────────────────────────────────


def _is_rescheduled(sensor: WaitingSensor) -> bool:
    return sensor.reschedule and not sensor.deferrable


def _first_reschedule(sensor: WaitingSensor, context: Context) -> float | None:
    """Return the first poll's Unix time, if another worker ran it."""
    if not _is_rescheduled(sensor):
        return None
    first = context["ti"].get_first_reschedule_date(context)
    return None if first is None else float(first.timestamp())


def _checkpoint(wait_spec: WaitSpec, context: Context) -> WaitTaskCheckpoint | None:
    """Return the checkpoint of a rescheduled wait; None before Airflow 3.3."""
    store = context.get("task_state_store")
    if store is None:
        return None
    return WaitTaskCheckpoint(store, wait_spec.targets, wait_spec.condition, clear_count_of(context))


def _save(checkpoint: WaitTaskCheckpoint, wait: Wait) -> None:
    try:
        checkpoint.save(wait.state())
    except CheckpointError as error:
        # Only the progress is lost, so the next poll asks for more messages than it needs to.
        log.warning("%s", error)
