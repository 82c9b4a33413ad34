"""Messages by conversation, as plans and reports of recalls show them to people."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from airflow_provider_dingtalk.jobs.batching import unique
from airflow_provider_dingtalk.jobs.report import MessageResult, Outcome
from airflow_provider_dingtalk.language import choose
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.receipt import MAX_TEXT_LENGTH, Kind, Receipt, iso
from airflow_provider_dingtalk.messages.send_request import SendRequest, first_line
from airflow_provider_dingtalk.task.arguments import LATEST, default_time_zone

#: Most conversations in a log.
MAX_LOGGED = 20
#: Most texts of a conversation.
MAX_TEXTS = 3


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
        """Format the messages, and their outcomes as far as known, as a line of a log in one language.

        :param now: Unix time in seconds.
        """
        cid = self.open_conversation_id
        where = choose(f" in {cid}", f"（{cid}）") if cid else ""
        where += "".join(f" “{text}”" for text in self._texts())
        kind, people, when = choose(message_type(self.kind).plural), people_in_words(self.receipts), self._when(now)
        number, became = len(self.receipts), self._became(results)
        return choose(
            f"{kind}{where}: {number} to {people}, sent {when}{became}",
            f"{kind}{where}：{number} 条，{people}，{when}{became}",
        )

    def _became(self, results: Mapping[str, MessageResult]) -> str:
        outcomes = Counter(results[receipt.key].outcome for receipt in self.receipts if receipt.key in results)
        parts = [f"{choose(outcome)} {outcomes[outcome]}" for outcome in Outcome if outcomes[outcome]]
        return choose(f": {', '.join(parts)}", f"：{'，'.join(parts)}") if parts else ""

    def _times(self) -> list[float]:
        """Return the known Unix times of the sends, the earliest first."""
        known = (moment for receipt in self.receipts if (moment := receipt.sent()) is not None)
        # A receipt of another program may name any time.
        return sorted(min(max(moment, 0.0), LATEST) for moment in known)

    def _texts(self) -> list[str]:
        """Return the first known texts, each once."""
        return list(dict.fromkeys(receipt.text for receipt in self.receipts if receipt.text))[:MAX_TEXTS]

    def _when(self, now: float) -> str:
        if not (times := self._times()):
            return choose("at an unknown time", "发送时间未知")
        zone, age = default_time_zone(), dt.timedelta(seconds=max(round(now - times[0]), 0))
        first, last = (f"{dt.datetime.fromtimestamp(at, zone):%Y-%m-%d %H:%M:%S}" for at in (times[0], times[-1]))
        some = choose(", some at an unknown time", "，部分时间未知") if len(times) < len(self.receipts) else ""
        ago = choose(f"{age} ago", f"{age} 前".replace(" days,", " 天").replace(" day,", " 天"))
        if first == last:
            return choose(f"at {first} {zone}, {ago}{some}", f"发送于 {first} {zone}（{ago}）{some}")
        return choose(
            f"from {first} to {last} {zone}, up to {ago}{some}", f"发送于 {first} 至 {last} {zone}（最早 {ago}）{some}"
        )


def by_conversation(receipts: Iterable[Receipt]) -> list[Conversation]:
    """Group messages by kind and conversation, those of most messages first."""
    groups: dict[tuple[Kind, str | None], list[Receipt]] = {}
    for receipt in unique(receipts).values():
        groups.setdefault((receipt.kind, receipt.open_conversation_id), []).append(receipt)
    found = [Conversation(kind, where, members) for (kind, where), members in groups.items()]
    return sorted(found, key=lambda one: -len(one.receipts))


def lines(receipts: Iterable[Receipt], now: float, results: Mapping[str, MessageResult] | None = None) -> list[str]:
    """Format messages by conversation, as indented lines of a log in one language; see :func:`in_each_language`.

    :param now: Unix time in seconds.
    :param results: Outcomes by message key; default None, which means not known yet.
    """
    found = by_conversation(receipts)
    listed = [f"  {one.line(now, results or {})}" for one in found[:MAX_LOGGED]]
    more = len(found) - MAX_LOGGED
    return [*listed, *([choose(f"  and {more} more conversations", f"  另有 {more} 个会话")] if more > 0 else [])]


def number_of_people(receipts: Sequence[Receipt]) -> int | None:
    """Return the total number of recipients, as far as known; None if no receipt states it."""
    known = [receipt.recipients for receipt in receipts if receipt.recipients is not None]
    return sum(known) if known else None


def people_in_words(receipts: Sequence[Receipt]) -> str:
    """Format the total number of recipients, in one language."""
    known = number_of_people(receipts)
    if known is None:
        return choose("an unknown number of people", "接收人数未知")
    if any(one.recipients is None for one in receipts):
        return choose(f"{known} people at least", f"接收人至少 {known} 名")
    return choose(f"{known} people", f"接收人 {known} 名")


def shown_text(send_requests: Sequence[SendRequest]) -> str | None:
    """Return the beginning of a message for its receipts, without secrets that Airflow masks."""
    from airflow.sdk._shared.secrets_masker import redact

    line = first_line(send_requests)
    return None if line is None else str(redact(line))[:MAX_TEXT_LENGTH]
