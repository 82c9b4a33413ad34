"""Circuit breaker of a recall.

It learns from failed calls. It stops the recall, skips a sender, or lowers the number of messages in a call.
"""

from __future__ import annotations

from airflow_provider_dingtalk.client.endpoints import MAX_KEYS_PER_RECALL
from airflow_provider_dingtalk.client.retry import LONG_WAIT
from airflow_provider_dingtalk.exceptions import DingTalkError, PartialRecallError
from airflow_provider_dingtalk.jobs import recall_results
from airflow_provider_dingtalk.jobs.batching import Batch
from airflow_provider_dingtalk.jobs.recall_results import NOT_ATTEMPTED, KeyResult, KeyState
from airflow_provider_dingtalk.messages.reason import Reason
from airflow_provider_dingtalk.messages.receipt import SenderKey

#: Consecutive calls that do not reach DingTalk, after which no further call is made.
MAX_OUTAGES = 3
#: Consecutive calls without a clear answer, after which no further call is made: twice the 10 that are in flight
#: at most under a rate limit.
MAX_AMBIGUOUS_FAILURES = 20


class CircuitBreaker:
    """Circuit breaker that observes the calls of one recall.

    :ivar open_reason: Reason for making no further call; None while calls are made.
    :ivar is_permanent: True if the reason will hold for another try, too.
    :ivar wait: Seconds until the recall may resume; 0 if DingTalk requires no pause.
    :ivar max_keys: Maximum messages in one call.
    """

    def __init__(self) -> None:
        self.open_reason: Reason | None = None
        self.is_permanent = False
        self.wait = 0.0
        self.max_keys = MAX_KEYS_PER_RECALL
        self._outages = self._ambiguous_failures = 0
        self._refused: dict[SenderKey, KeyResult] = {}
        #: Senders for which probes were made, or are not needed, since a call of theirs was answered.
        self._probed: set[SenderKey] = set()
        self._refused_one_by_one: dict[SenderKey, str] = {}

    def stop(self) -> None:
        """Stop further calls."""
        self.open_reason = self.open_reason or NOT_ATTEMPTED

    def open(self, error: DingTalkError) -> None:
        """Stop further calls, with an error as the reason."""
        self.is_permanent = self.is_permanent or (self.open_reason is None and error.permanent)
        self.open_reason = self.open_reason or Reason.of(error)

    def record_answer(self, sender_key: SenderKey | None = None) -> None:
        """Record an answered call, and that later refusals of its sender do not concern all of its messages."""
        self._outages = self._ambiguous_failures = 0
        if sender_key:
            self._probed.add(sender_key)

    def record_failure(self, error: DingTalkError, sender_key: SenderKey) -> None:
        """Record a failed call."""
        self._outages = self._outages + 1 if recall_results.is_outage(error) else 0
        # "Not all are recalled" is a clear answer, so it does not count.
        is_ambiguous = recall_results.leaves_doubt(error) and not isinstance(error, PartialRecallError)
        self._ambiguous_failures = self._ambiguous_failures + 1 if is_ambiguous else 0
        is_down = self._outages >= MAX_OUTAGES or self._ambiguous_failures >= MAX_AMBIGUOUS_FAILURES
        if is_down or recall_results.stops_everything(error):
            self.open(error)
        if pause := recall_results.pause_of(error):
            self.wait = max(LONG_WAIT, pause)
        if recall_results.stops_sender(error):
            self._refused[sender_key] = recall_results.of_error(error)

    def refusal_of(self, sender_key: SenderKey) -> KeyResult | None:
        """Return the result for all messages of a refused sender; None if it was not refused."""
        return self._refused.get(sender_key)

    def claim_probes(self, sender_key: SenderKey, error: DingTalkError) -> bool:
        """Claim the probes of a sender that may be refused entirely; True at most once for each sender."""
        if sender_key in self._probed or not recall_results.may_concern_all(error):
            return False
        self._probed.add(sender_key)
        return True

    def refuse_sender(self, sender_key: SenderKey, error: DingTalkError, probes: int) -> None:
        """Stop further calls for a sender and conversation.

        :param probes: Number of messages that were refused alone for the reason of the first call.
        """
        text = f"Not tried: a call of the same sender was refused so, and {probes} of its messages alone were, too."
        self._refused[sender_key] = KeyResult(KeyState.FAILED, Reason(error.code, text, error.next_step))

    def record_bisection(self, batch: Batch, error: DingTalkError, *, in_vain: bool) -> None:
        """Record the bisection of a refused batch.

        :param in_vain: True if each of its messages was refused alone, too.
        """
        if in_vain:
            self._refused_one_by_one[batch.sender_key] = error.code
        else:
            self._refused_one_by_one.pop(batch.sender_key, None)

    def was_refused_one_by_one(self, batch: Batch, error: DingTalkError) -> bool:
        """Return True if each message of the sender's last bisected batch was refused with the code of this error."""
        return self._refused_one_by_one.get(batch.sender_key) == error.code


def refused_with_others(error: DingTalkError, *, by_age: bool) -> KeyResult:
    """Return the result for messages refused together and not tried alone.

    Bisecting every refused batch would take two calls per message.

    :param by_age: True if all ages are known, so that a younger message of the batch was refused alone.
    """
    text = "Refused in one call with others, not tried alone: the youngest was, and all of an earlier call were."
    state = recall_results.of_error(error).state if by_age else KeyState.FAILED
    return KeyResult(state, Reason(error.code, text, error.next_step))
