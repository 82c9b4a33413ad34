"""What failed calls teach about those still to be made: when to stop, whom to leave alone, how many at a time."""

from __future__ import annotations

from airflow_provider_dingtalk.api.client import LONG_WAIT
from airflow_provider_dingtalk.api.endpoints import MAX_KEYS_PER_RECALL
from airflow_provider_dingtalk.api.errors import DingTalkError, PartialRecallError
from airflow_provider_dingtalk.messaging.plan import Batch
from airflow_provider_dingtalk.messaging.receipts import Group
from airflow_provider_dingtalk.messaging.report import Reason
from airflow_provider_dingtalk.messaging.verdicts import (
    NOT_ATTEMPTED,
    State,
    Verdict,
    asks_to_wait,
    is_outage,
    leaves_doubt,
    may_concern_all,
    of_error,
    stops_everything,
    stops_the_group,
)

#: Calls in a row that do not reach DingTalk, after which no more are made.
MAX_OUTAGES = 3
#: Calls in a row without a clear answer, after which no more are made: two waves of those under way at once.
MAX_STUMBLES = 20


class Breaker:
    """Listens to the calls of one recall.

    :ivar halted: Why no further call is made; None while calls are made.
    :ivar is_hopeless: Whether that will be so for another try, too.
    :ivar wait: Seconds after which to go on, if DingTalk asked for that.
    :ivar max_keys: Messages in one call.
    """

    def __init__(self) -> None:
        self.halted: Reason | None = None
        self.is_hopeless = False
        self.wait = 0.0
        self.max_keys = MAX_KEYS_PER_RECALL
        self._outages = 0
        self._stumbles = 0
        self._refused: dict[Group, Verdict] = {}
        #: Senders of which it is known, or being found out, whether a refusal is about all of their messages.
        self._judged: set[Group] = set()
        self._refused_one_by_one: dict[Group, str] = {}

    def stop(self) -> None:
        """Have no further call made."""
        self.halted = self.halted or NOT_ATTEMPTED

    def give_up(self, error: DingTalkError) -> None:
        """Have no further call made, for the reason that an error gives."""
        self.is_hopeless = self.is_hopeless or (self.halted is None and error.permanent)
        self.halted = self.halted or Reason.of(error)

    def passed(self, group: Group | None = None) -> None:
        """A call was answered.

        :param group: Sender and conversation of a recall: later refusals are not about all of its messages.
        """
        self._outages = self._stumbles = 0
        if group:
            self._judged.add(group)

    def failed(self, error: DingTalkError, group: Group) -> None:
        """A call failed."""
        self._outages = self._outages + 1 if is_outage(error) else 0
        # "Not all are recalled" is a clear word of a DingTalk that works.
        stumbled = leaves_doubt(error) and not isinstance(error, PartialRecallError)
        self._stumbles = self._stumbles + 1 if stumbled else 0
        if stops_everything(error) or self._outages >= MAX_OUTAGES or self._stumbles >= MAX_STUMBLES:
            self.give_up(error)
        if wait := asks_to_wait(error):
            self.wait = max(LONG_WAIT, wait)
        if stops_the_group(error):
            self._refused[group] = of_error(error)

    def refused(self, group: Group) -> Verdict | None:
        """What is known of all messages of a sender and conversation without asking."""
        return self._refused.get(group)

    def takes_up(self, group: Group, error: DingTalkError) -> bool:
        """Tell, once for a sender and conversation, to find out whether a refusal is about all of its messages."""
        if group in self._judged or not may_concern_all(error):
            return False
        self._judged.add(group)
        return True

    def refuse(self, group: Group, error: DingTalkError, alone: int) -> None:
        """Have no further call made for a sender and conversation.

        :param alone: Messages that were refused alone, one by one, for the reason of the first call.
        """
        text = f"Not tried: a call of the same sender was refused so, and {alone} of its messages alone were, too."
        self._refused[group] = Verdict(State.FAILED, Reason(error.code, text, error.next_step))

    def bisected(self, batch: Batch, error: DingTalkError, *, in_vain: bool) -> None:
        """A refused call was taken apart.

        :param in_vain: Each of its messages was refused alone, too.
        """
        if in_vain:
            self._refused_one_by_one[batch.group] = error.code
        else:
            self._refused_one_by_one.pop(batch.group, None)

    def was_refused_to_the_last(self, batch: Batch, error: DingTalkError) -> bool:
        """Whether all messages of an earlier call were refused one by one for the reason of this one."""
        return self._refused_one_by_one.get(batch.group) == error.code


def refused_with_others(error: DingTalkError, *, by_age: bool) -> Verdict:
    """What is said of messages that were refused in one call and not tried alone.

    Taking every refused call apart costs twice as many calls as there are messages.

    :param by_age: Whether a younger message of the same call was refused alone.
    """
    text = "Refused in one call with others, not tried alone: the youngest was, and all of an earlier call were."
    state = of_error(error).state if by_age else State.FAILED
    return Verdict(state, Reason(error.code, text, error.next_step))
