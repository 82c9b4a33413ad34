"""Reports of recalls, with each message in exactly one of four classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct

from airflow_provider_dingtalk.jobs.progress import calls_made
from airflow_provider_dingtalk.language import choose, in_each_language
from airflow_provider_dingtalk.messages.reason import Reason, advice

#: Version of the report's format.
REPORT_VERSION = 1
#: Maximum keys listed in each class; ``counts`` is always complete. 10,000 recalled keys would take 600 kB.
MAX_LISTED = {"recalled": 100, "failed": 1000, "expired": 1000, "unknown": 1000}
#: Message keys in the line of a reason.
KEYS_PER_REASON = 3


class Outcome(StrEnum):
    """Outcome of a recall for one message."""

    RECALLED = "recalled"
    """Message that DingTalk reports as recalled."""
    FAILED = "failed"
    """Message that is still in the chat, for a reason that DingTalk or this package gives."""
    EXPIRED = "expired"
    """Message that is too old to be recalled."""
    UNKNOWN = "unknown"
    """Message in doubt: a recall went out, and its effect is not known."""


class MessageResult(Struct, frozen=True, gc=False):
    """Outcome of one message, with its reason."""

    outcome: Outcome
    reason: Reason | None = None


class Report(Struct, frozen=True):
    """Report of a recall, with the outcome of each message.

    :param results: Outcomes by message key; default none.
    :param api_calls: Requests by purpose: ``recall``, ``again``, ``bisect``, ``status``, ``token``. ``throttled``
        counts those of them that DingTalk throttled and does not charge.
    :param duplicates: Number of receipts for a message that an earlier receipt named; default 0.
    """

    results: Mapping[str, MessageResult] = {}
    api_calls: Mapping[str, int] = {}
    duplicates: int = 0

    def keys(self, outcome: Outcome) -> list[str]:
        """List the message keys of one outcome."""
        return [key for key, result in self.results.items() if result.outcome is outcome]

    def counts(self) -> dict[str, int]:
        """Count the messages by outcome, and in total."""
        counts = Counter(result.outcome for result in self.results.values())
        return {**{outcome.value: counts[outcome] for outcome in Outcome}, "total": len(self.results)}

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON, with long lists capped.

        ``omitted`` counts the keys that a cap left out.
        """
        counts = self.counts()
        omitted = {name: counts[name] - most for name, most in MAX_LISTED.items() if counts[name] > most}
        return {
            "version": REPORT_VERSION,
            "recalled": self.keys(Outcome.RECALLED)[: MAX_LISTED["recalled"]],
            **{outcome.value: self._reasons(outcome) for outcome in Outcome if outcome is not Outcome.RECALLED},
            "counts": counts | {"duplicates": self.duplicates},
            "api_calls": self._calls(),
            **({"omitted": omitted} if omitted else {}),
        }

    def _reasons(self, outcome: Outcome) -> dict[str, dict[str, str]]:
        reasons = {key: self.results[key].reason for key in self.keys(outcome)[: MAX_LISTED[outcome]]}
        return {key: reason.to_json() if reason else {} for key, reason in reasons.items()}

    def table(self) -> str:
        """Format the report for people, in the language of the option ``[dingtalk] language``.

        The lines are the counts, the 10 most frequent reasons of messages not recalled, each with its first keys, and
        the API calls.
        """
        return in_each_language(self._table)

    def _table(self) -> str:
        by_reason = sorted(self._by_reason().items(), key=lambda item: -len(item[1]))
        more = len(by_reason) - 10
        return "\n".join(
            [
                _numbers(self.counts()),
                *(_reason_line(outcome, code, step, keys) for (outcome, code, step), keys in by_reason[:10]),
                *([choose(f"  and {more} more reasons", f"  另有 {more} 种原因")] if more > 0 else []),
                f"{choose('api calls', 'API 调用')} {_numbers(self._calls())}",
            ]
        )

    def _by_reason(self) -> dict[tuple[Outcome, str, str], list[str]]:
        """Return the keys of messages not recalled, by outcome, code and next step; texts may differ for each."""
        found: dict[tuple[Outcome, str, str], list[str]] = {}
        for key, result in self.results.items():
            if result.outcome is not Outcome.RECALLED:
                code, step = (result.reason.code, result.reason.next_step) if result.reason else ("", "")
                found.setdefault((result.outcome, code, step), []).append(key)
        return found

    def _calls(self) -> dict[str, int]:
        used = {name: number for name, number in sorted(self.api_calls.items()) if number}
        return {**used, "total": calls_made(used)}


def _numbers(numbers: Mapping[str, int]) -> str:
    return "   ".join(f"{choose(name)} {number}" for name, number in numbers.items())


def _reason_line(outcome: Outcome, code: str, next_step: str, keys: Sequence[str]) -> str:
    first = ", ".join(keys[:KEYS_PER_REASON]) + (", …" if len(keys) > KEYS_PER_REASON else "")
    number, step = len(keys), advice(next_step)
    return choose(
        " ".join(filter(None, [f"  {number} {outcome}: {code or 'no reason'}.", step, f"Messages: {first}"])),
        f"  {number} 条{choose(outcome)}：{code or '无原因'}。{step}消息 ID：{first}",
    )
