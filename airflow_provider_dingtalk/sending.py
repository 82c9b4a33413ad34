"""Inside a task that sends: what it takes up from earlier tries, what it pushes, and when it fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from airflow_provider_dingtalk.api.errors import DingTalkError, InvalidInputError
from airflow_provider_dingtalk.execution import RECEIPTS, RECEIPTS_COUNT, SENDING, LongWait, epoch_of
from airflow_provider_dingtalk.messaging.receipts import Receipt
from airflow_provider_dingtalk.messaging.send import Letter, Send
from airflow_provider_dingtalk.task_ledger.sends import SendHistory
from airflow_provider_dingtalk.task_ledger.store import SupersededError
from airflow_provider_dingtalk.version_compat import ask_supervisor

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_dingtalk.hooks import DingTalkHook

log = logging.getLogger(__name__)

#: XCom keys.
DROPPED = "dropped"
UNKNOWN = "unknown"
#: Receipts in one XCom.
RECEIPTS_PER_XCOM = 100

ON_UNKNOWN_SEND = ("fail", "skip", "resend")
ON_CLEARED_SEND = ("fail", "resend", "keep")


class DroppedReceiversError(DingTalkError):
    """DingTalk accepted a send and left people out. The XCom ``dropped`` says whom, and why."""

    permanent = True


class SendNotRepeatedError(DingTalkError):
    """The task may have sent already, and what it sends would be there twice."""

    permanent = True


class SendPolicy(Struct, frozen=True, kw_only=True):
    """What to do where sending again is not obviously right.

    :param fail_on_dropped: Fail if DingTalk leaves people out.
    :param on_unknown_send: A call that was under way when a try died: ``fail``, ``skip`` or ``resend`` it.
    :param on_cleared_send: The task had sent everything and was cleared: ``fail``, ``resend``, or ``keep`` what
        was sent and succeed.
    :param allow_resend: Below Airflow 3.3, where nothing is known of earlier tries: send all of it again.
    """

    fail_on_dropped: bool = False
    on_unknown_send: str = "fail"
    on_cleared_send: str = "fail"
    allow_resend: bool = False

    def check(self) -> None:
        """Refuse choices that are none.

        :raises InvalidInputError: One is.
        """
        for field, value, choices in (
            ("on_unknown_send", self.on_unknown_send, ON_UNKNOWN_SEND),
            ("on_cleared_send", self.on_cleared_send, ON_CLEARED_SEND),
        ):
            if value not in choices:
                raise InvalidInputError(field, f"is {str(value)[:40]!r}; use one of {', '.join(choices)}")


class Sending:
    """One task's job of sending.

    :param rollbacks: Ids of the tasks that are to take back what it sends, if something fails.
    :raises SendNotRepeatedError: It sent already, and the policy is not to send again. Its receipts are pushed.
    :raises LedgerError: Airflow's task state store does not answer.
    """

    def __init__(
        self, letters: Sequence[Letter], context: Context, policy: SendPolicy, rollbacks: Sequence[str] = ()
    ) -> None:
        policy.check()
        self._context = context
        self._policy = policy
        self._rollbacks = list(rollbacks)
        self._outlet = ReceiptsInXCom(context)
        store = context.get("task_state_store")
        self._history = SendHistory(store, letters, epoch_of(context)) if store is not None else None
        if self._history is None:
            _refuse_a_second_try(context, policy)
            self.job = Send(letters, keep=self._outlet)
        else:
            self.job = self._durable_job(self._history, letters)

    def run(self, hook: DingTalkHook) -> list[dict[str, Any]]:
        """Send, push what is known whatever happens, and fail the task if it must.

        :returns: Receipts as plain JSON.
        :raises LongWait: DingTalk wants no calls for a while, and the ledger keeps how far it is.
        :raises IncompleteSendError: Not everything was sent, or nobody knows.
        :raises DroppedReceiversError: DingTalk left people out, and that is to fail the task.
        """
        job = self.job
        self._say(is_over=False)
        try:
            hook.run(job.run, job.stop)
        except SupersededError:
            # Airflow lets it push XComs all the same: over those of the try that has begun.
            raise
        except BaseException:
            self._push_the_rest()
            raise
        self._push_the_rest()
        if job.wait and self._history is not None:
            raise LongWait(job.wait)
        job.raise_if_incomplete()
        if self._history is not None:
            self._history.finish()
        if job.dropped and self._policy.fail_on_dropped:
            raise DroppedReceiversError(f"DingTalk left out {len(job.dropped)} people.", code="dropped_receivers")
        return [receipt.to_json() for receipt in job.receipts]

    def _durable_job(self, history: SendHistory, letters: Sequence[Letter]) -> Send:
        if history.has_changed:
            self._outlet.push(history.sent_so_far())
            self._say(is_over=True)
            raise SendNotRepeatedError(
                "An earlier try of this task sent something else; nothing more was sent.",
                code="send_changed",
                next_step="A template that renders differently at each try, a time for instance, does that. "
                "Clear the task to send what it says now.",
            )
        if history.is_cleared and self._policy.on_cleared_send == "fail":
            self._outlet.push(history.sent_so_far())
            self._say(is_over=True)
            raise SendNotRepeatedError(
                "The task had sent everything when it was cleared; nothing was sent again.",
                code="send_cleared",
                next_step="Set on_cleared_send to 'resend' to send again, or 'keep' to let it succeed as it is.",
            )
        ledger = history.begin(anew=history.is_cleared and self._policy.on_cleared_send == "resend")
        return Send(
            letters,
            ledger=ledger,
            keep=self._outlet,
            on_unknown=self._policy.on_unknown_send,
            carried=history.carried(),
        )

    def _push_the_rest(self) -> None:
        ti, job = self._context["ti"], self.job
        if job.dropped:
            ti.xcom_push(DROPPED, job.dropped)
            log.warning("DingTalk left out %d people: %s", len(job.dropped), _few(job.dropped))
        if job.unknown:
            ti.xcom_push(UNKNOWN, [unsent.to_json() for unsent in job.unknown])
        log.info("Sent %d, refused %d, unknown %d.", len(job.receipts), len(job.failed), len(job.unknown))
        self._say(is_over=True)

    def _say(self, *, is_over: bool) -> None:
        """Tell the rollbacks that it sends, or that nothing more will come of it.

        Airflow calls a task failed that a user stops, and lets it run for up to ten seconds more.
        """
        if self._rollbacks:
            self._context["ti"].xcom_push(SENDING, {"is_over": is_over, "rollbacks": self._rollbacks})


def _refuse_a_second_try(context: Context, policy: SendPolicy) -> None:
    if context["ti"].try_number > 1 and not policy.allow_resend:
        raise SendNotRepeatedError(
            "An earlier try may have sent already, and this Airflow keeps no record of it (3.3 does).",
            code="send_repeated",
            next_step="Set allow_resend=True if sending twice does no harm.",
        )
    log.warning(
        "This Airflow has no task state store (3.3 has): this send is %s.",
        "sent again by each retry" if policy.allow_resend else "not retried, and refused after a clear",
    )


def _few(people: Mapping[str, str]) -> str:
    shown = [f"{user} ({why})" for user, why in list(people.items())[:10]]
    return ", ".join(shown) + (", …" if len(people) > len(shown) else "")


class ReceiptsInXCom:
    """Pushes receipts the moment DingTalk answered: under ``receipts_0``, ``receipts_1``, … and their count.

    A task that dies later has not lost them, and a rollback downstream finds them. Airflow deletes a task's
    XComs when a try starts, so that all of them are pushed in each.
    """

    def __init__(self, context: Context) -> None:
        self._ti = context["ti"]
        self._pushed = 0

    async def __call__(self, receipts: Sequence[Receipt]) -> None:
        """Push those that are new, from the event loop."""
        # In a thread: Airflow waits for its supervisor's answer, and the event loop must not.
        await asyncio.to_thread(ask_supervisor, self.push, receipts)

    def push(self, receipts: Sequence[Receipt]) -> None:
        """Push those that are new."""
        if len(receipts) == self._pushed:
            return
        first = self._pushed // RECEIPTS_PER_XCOM
        last = (len(receipts) - 1) // RECEIPTS_PER_XCOM
        for number in range(first, last + 1):
            chunk = receipts[number * RECEIPTS_PER_XCOM : (number + 1) * RECEIPTS_PER_XCOM]
            self._ti.xcom_push(RECEIPTS.format(number), [receipt.to_json() for receipt in chunk])
        self._ti.xcom_push(RECEIPTS_COUNT, len(receipts))
        self._pushed = len(receipts)
