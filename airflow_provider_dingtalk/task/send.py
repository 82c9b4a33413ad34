"""Send job inside a running task: earlier tries, XComs and raised errors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

from airflow_provider_dingtalk.client.clock import SystemClock
from airflow_provider_dingtalk.exceptions import (
    DroppedReceiversError,
    InvalidInputError,
    SendNotRepeatedError,
    SupersededError,
)
from airflow_provider_dingtalk.jobs.checkpoint import AcceptedSend
from airflow_provider_dingtalk.jobs.send import Send
from airflow_provider_dingtalk.language import get_logger
from airflow_provider_dingtalk.messages.message_types import message_type, send_request_of
from airflow_provider_dingtalk.messages.send_request import SendRequest, shown
from airflow_provider_dingtalk.task.checkpoint.send import JobSends
from airflow_provider_dingtalk.task.conversations import shown_text
from airflow_provider_dingtalk.task.errors import DeferRequested
from airflow_provider_dingtalk.task.registry import SendRegistry
from airflow_provider_dingtalk.task.running_registry import current_registry, registry_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_dingtalk.client.client import DingTalkClient
    from airflow_provider_dingtalk.client.clock import Clock
    from airflow_provider_dingtalk.client.endpoints import Endpoint
    from airflow_provider_dingtalk.task.hook_protocol import Hook

log = get_logger(__name__)

_CHOICES = {"on_unknown_send": ("fail", "skip", "resend"), "on_cleared_send": ("fail", "resend", "keep")}


class SendPolicy(Struct, frozen=True, kw_only=True):
    """Decisions for cases in which another send is not obviously right.

    :param fail_on_dropped: Fail if DingTalk leaves some people out; default False.
    :param fail_on_unreached: Fail if DingTalk leaves all people out; default True.
    :param fail_on_refused: Fail if DingTalk refuses a receiver; default True. The others are served all the same.
    :param on_unknown_send: Reaction to a call in flight when a try died: ``fail``, ``skip`` or ``resend``; default
        ``fail``.
    :param on_cleared_send: Reaction if the task had sent everything when it was cleared: ``fail``, ``resend``, or
        ``keep`` to succeed with the earlier messages; default ``fail``.
    :param allow_resend: Let a second try send everything again below Airflow 3.3, which has no record of earlier
        tries; default False.
    """

    fail_on_dropped: bool = False
    fail_on_unreached: bool = True
    fail_on_refused: bool = True
    on_unknown_send: str = "fail"
    on_cleared_send: str = "fail"
    allow_resend: bool = False

    def check(self) -> None:
        """Raise an error if a choice is not valid.

        :raises InvalidInputError: If a choice is unknown.
        """
        for field, choices in _CHOICES.items():
            if (value := getattr(self, field)) not in choices:
                raise InvalidInputError(field, f"is {str(value)[:40]!r}; use one of {', '.join(choices)}")


class SendTask:
    """Send job of a task.

    :param policy: Decisions about repeated sends.
    :param name: Name of the operator, because a task may call several operators by hand; default ``send``.
    :param clock: Clock of the job; default None, which means the system's clock.
    :raises SendNotRepeatedError: If it sent already and the policy forbids another send. Its receipts are pushed.
    :raises CheckpointError: If Airflow's task state store does not answer.
    """

    def __init__(
        self,
        send_requests: Sequence[SendRequest],
        context: Context,
        policy: SendPolicy,
        name: str = "send",
        clock: Clock | None = None,
    ) -> None:
        policy.check()
        self._policy = policy
        self._registry = registry_of(context)
        self._sends: JobSends | None = None
        if (sends := self._registry.sends) is not None:
            self._sends = sends.job(self._registry.job_name(name), send_requests)
            self._begin(self._sends)
        else:
            _refuse_second_try(context, policy)
        self.job = self._registry.add_job(
            Send(
                send_requests,
                checkpoint=self._sends,
                store_receipts=partial(self._registry.publish_job, text=shown_text(send_requests)),
                store_late_receipts=self._registry.publish_late,
                on_unknown=policy.on_unknown_send,
                fail_on_refused=policy.fail_on_refused,
                fail_on_unreached=policy.fail_on_unreached,
                earlier_receipts=self._sends.earlier_receipts() if self._sends is not None else (),
                clock=clock,
            )
        )

    def run(self, hook: Hook) -> list[dict[str, Any]]:
        """Send, push the results, and raise an error if needed.

        :returns: Receipts as plain JSON.
        :raises DeferRequested: If DingTalk accepts no calls for 60 s or more; the checkpoint keeps the progress.
        :raises IncompleteSendError: If a send failed, or is in doubt.
        :raises DroppedReceiversError: If DingTalk left people out and ``fail_on_dropped`` is set.
        """
        job = self.job
        _run_registered(hook, job, self._registry)
        if job.wait and self._sends is not None:
            raise DeferRequested(job.wait)
        job.raise_if_incomplete()
        if self._sends is not None:
            self._sends.finish()
        if job.dropped and self._policy.fail_on_dropped:
            number = len(job.dropped)
            raise DroppedReceiversError(
                f"DingTalk left out {number} people.", code="dropped_receivers", message_zh=f"钉钉遗漏 {number} 人。"
            )
        return [receipt.to_json() for receipt in job.receipts]

    def _begin(self, sends: JobSends) -> None:
        """Begin the job, or refuse to repeat it; receipts of earlier tries are registered in either case."""
        if sends.has_changed:
            self._refuse(
                "An earlier try of this task sent something else, or may have; nothing was sent by this one.",
                "send_changed",
                "A template that renders differently at each try, a time for instance, does that. "
                "Clear the task to send what it says now.",
            )
        is_cleared = sends.is_cleared
        sends.begin(anew=is_cleared and self._policy.on_cleared_send == "resend")
        # A user may have fixed the list before the clear, so the task may have receivers who got nothing yet.
        if is_cleared and self._policy.on_cleared_send == "fail" and sends.is_all_sent:
            self._refuse(
                "The task had sent everything when it was cleared; nothing was sent again.",
                "send_cleared",
                "Set on_cleared_send to 'resend' to send again, or 'keep' to let it succeed as it is.",
            )

    def _refuse(self, problem: str, code: str, next_step: str) -> None:
        self._registry.publish_persistently()
        raise SendNotRepeatedError(problem, code=code, next_step=next_step)


def _refuse_second_try(context: Context, policy: SendPolicy) -> None:
    if context["ti"].try_number > 1 and not policy.allow_resend:
        raise SendNotRepeatedError(
            "An earlier try may have sent already, and this Airflow keeps no record of it (3.3 does).",
            code="send_repeated",
            next_step="Set allow_resend=True if sending twice does no harm.",
        )
    if policy.allow_resend:
        log.warning("This Airflow has no task state store (3.3 has): each retry sends again.")
    else:
        log.warning(
            "This Airflow has no task state store (3.3 has): this send is neither retried nor repeated after a clear."
        )


def _run_registered(hook: Hook, job: Send, registry: SendRegistry) -> None:
    """Run a job, and publish its results however it ends."""
    try:
        # Inside the try, because an interruption that comes now must reach end_interrupted.
        registry.begin()
        hook.run(job.run, job.stop)
    except SupersededError:
        # Airflow still lets a superseded try push XComs, which would replace those of the later try.
        raise
    except BaseException:
        registry.end_interrupted(job)
        raise
    registry.end(job)


# ── sends by the hook ────────────────────────────────────────────────────────────────────────────────


def send(hook: Hook, send_requests: Sequence[SendRequest]) -> list[dict[str, Any]]:
    """Send by the hook from sync code, registered with the running task if there is one.

    :returns: Receipts as plain JSON.
    :raises IncompleteSendError: If a call was refused, or its answer is missing.
    :raises CheckpointError: If the running task's state store does not answer.
    """
    registry = current_registry()
    if registry is None:
        job = Send(send_requests)
        hook.run(job.run, job.stop)
    else:
        job = registry.hook_job(send_requests)
        _run_registered(hook, job, registry)
    return _result(job)


async def asend(client: DingTalkClient, send_requests: Sequence[SendRequest]) -> list[dict[str, Any]]:
    """Send by the hook from an event loop; see :func:`send`."""
    registry = current_registry()
    if registry is None:
        job = Send(send_requests)
        await job.run(client)
        return _result(job)
    # Each call may wait for Airflow's supervisor, so it runs in a thread and does not block the task's event loop.
    job = await asyncio.to_thread(registry.hook_job, send_requests)
    try:
        await asyncio.to_thread(registry.begin)
        await job.run(client)
    except SupersededError:
        raise
    except BaseException:
        job.stop()
        await asyncio.shield(asyncio.to_thread(registry.end_interrupted, job))
        raise
    await asyncio.to_thread(registry.end, job)
    return _result(job)


def register_call(call: Endpoint[Any], answer: Any, conn_id: str) -> None:
    """Register a message that a plain call of the hook sent with the running task, if there is one.

    :param answer: DingTalk's answer to the call.
    """
    send_request = send_request_of(call)
    if send_request is None or (registry := current_registry()) is None:
        return
    send_request, of_kind = structs.replace(send_request, conn_id=conn_id), message_type(send_request.kind)
    receipt = of_kind.receipt(send_request, answer, SystemClock().now())
    log.info("DingTalk accepted %s %s, sent to %s.", receipt.kind, receipt.key, shown(send_request.to))
    receipt = structs.replace(receipt, text=shown_text([send_request]))
    registry.register_sent(AcceptedSend(receipt, send_request.address, of_kind.undelivered(answer)))


def _result(job: Send) -> list[dict[str, Any]]:
    job.raise_if_incomplete()
    return [receipt.to_json() for receipt in job.receipts]
