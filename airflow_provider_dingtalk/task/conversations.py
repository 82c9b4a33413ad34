"""Messages by conversation, as plans and reports of recalls show them to people."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from airflow_provider_dingtalk.jobs.batching import unique
from airflow_provider_dingtalk.jobs.report import MessageResult, Outcome
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.receipt import MAX_TEXT_LENGTH, Kind, Receipt, iso
from airflow_provider_dingtalk.messages.send_request import SendRequest, first_line
from airflow_provider_dingtalk.task.arguments import default_time_zone

#: Most conversations in a log.
MAX_LOGGED = 20
#: Most texts of a conversation.
MAX_TEXTS = 3
#: Unix time in seconds of the last day of the year 9999; a receipt of another program may name any time.
_LATEST = 253_402_128_000.0


class Conversation(Struct, frozen=True):
    """Messages of one kind in one conversation, or all of a kind that has no conversations.

    :param open_conversation_id: Group or chat of two people; None for kinds without conversations.
    :param receipts: Receipts of the messages, each once.
    """

    kind: Kind
    open_conversation_id: str | None
    receipts: Sequence[Receipt]

    def to_json(self, readers: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """Return the numbers and times of the messages as plain JSON, without unknown ones.

        :param readers: User ids of readers by message key, for the messages whose readers are known.
        """
        known = [readers[receipt.key] for receipt in self.receipts if receipt.key in readers]
        times = self._times()
        fields = {
            "kind": str(self.kind),
            "open_conversation_id": self.open_conversation_id,
            "messages": len(self.receipts),
            "people": number_of_people(self.receipts),
            "sent_from": iso(times[0]) if times else None,
            "sent_until": iso(times[-1]) if times else None,
            "texts": self._texts() or None,
            "readers": len({user_id for of_message in known for user_id in of_message}) if known else None,
        }
        return {name: value for name, value in fields.items() if value is not None}

    def line(self, now: float, results: Mapping[str, MessageResult]) -> str:
        """Format the messages, and their outcomes as far as known, as a line of a log.

        :param now: Unix time in seconds.
        """
        where = f" in {self.open_conversation_id}" if self.open_conversation_id else ""
        where += "".join(f" “{text}”" for text in self._texts())
        outcomes = Counter(results[receipt.key].outcome for receipt in self.receipts if receipt.key in results)
        became = ", ".join(f"{outcome} {outcomes[outcome]}" for outcome in Outcome if outcomes[outcome])
        return (
            f"{message_type(self.kind).plural}{where}: {len(self.receipts)} to {people_in_words(self.receipts)}, "
            f"sent {self._when(now)}" + (f": {became}" if became else "")
        )

    def _times(self) -> list[float]:
        """Return the known Unix times of the sends, the earliest first."""
        known = (moment for receipt in self.receipts if (moment := receipt.sent()) is not None)
        return sorted(min(max(moment, 0.0), _LATEST) for moment in known)

    def _texts(self) -> list[str]:
        """Return the first known texts, each once."""
        return list(dict.fromkeys(receipt.text for receipt in self.receipts if receipt.text))[:MAX_TEXTS]

    def _when(self, now: float) -> str:
        if not (times := self._times()):
            return "at an unknown time"
        zone, age = default_time_zone(), dt.timedelta(seconds=max(round(now - times[0]), 0))
        first, last = (f"{dt.datetime.fromtimestamp(at, zone):%Y-%m-%d %H:%M:%S}" for at in (times[0], times[-1]))
        some = ", some at an unknown time" if len(times) < len(self.receipts) else ""
        if first == last:
            return f"at {first} {zone}, {age} ago{some}"
        return f"from {first} to {last} {zone}, up to {age} ago{some}"


def by_conversation(receipts: Iterable[Receipt]) -> list[Conversation]:
    """Group messages by kind and conversation, those of most messages first."""
    groups: dict[tuple[Kind, str | None], list[Receipt]] = {}
    for receipt in unique(receipts).values():
        groups.setdefault((receipt.kind, receipt.open_conversation_id), []).append(receipt)
    found = [Conversation(kind, where, members) for (kind, where), members in groups.items()]
    return sorted(found, key=lambda one: -len(one.receipts))


def lines(receipts: Iterable[Receipt], now: float, results: Mapping[str, MessageResult] | None = None) -> list[str]:
    """Format messages by conversation, as indented lines of a log.

    :param now: Unix time in seconds.
    :param results: Outcomes by message key; default None, which means not known yet.
    """
    found = by_conversation(receipts)
    listed = [f"  {one.line(now, results or {})}" for one in found[:MAX_LOGGED]]
    return [*listed, *([f"  and {len(found) - MAX_LOGGED} more conversations"] if len(found) > MAX_LOGGED else [])]


def number_of_people(receipts: Sequence[Receipt]) -> int | None:
    """Return the total number of recipients, as far as known; None if no receipt states it."""
    known = [receipt.recipients for receipt in receipts if receipt.recipients is not None]
    return sum(known) if known else None


def people_in_words(receipts: Sequence[Receipt]) -> str:
    """Format the total number of recipients."""
    known = number_of_people(receipts)
    if known is None:
        return "an unknown number of people"
    return f"{known} people" + (" at least" if any(one.recipients is None for one in receipts) else "")


def shown_text(send_requests: Sequence[SendRequest]) -> str | None:
    """Return the beginning of a message for its receipts, without secrets that Airflow masks."""
    from airflow.sdk._shared.secrets_masker import redact

    line = first_line(send_requests)
    return None if line is None else str(redact(line))[:MAX_TEXT_LENGTH]
