"""Reports: what a recall gives back. Every message stands in exactly one of four classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct

from airflow_provider_dingtalk.api.errors import DingTalkError
from airflow_provider_dingtalk.messaging.progress import calls_made

#: Version of the report's shape.
REPORT_VERSION = 1
#: Keys listed by class; ``counts`` always has them all. 10,000 recalled keys would be 600 kB of good news.
MAX_LISTED = {"recalled": 100, "failed": 1000, "expired": 1000, "unknown": 1000}
_MAX_MESSAGE = 300
#: The code of an error that came without one, such as a proxy's 502.
NO_CODE = "no_code"


class Outcome(StrEnum):
    """What became of a message."""

    RECALLED = "recalled"
    """DingTalk said so."""
    FAILED = "failed"
    """It is still there, and DingTalk or we said why."""
    EXPIRED = "expired"
    """Too old to be recalled."""
    UNKNOWN = "unknown"
    """A recall went out, and nobody can say whether it worked."""


class Reason(Struct, frozen=True, gc=False):
    """Why a message is not recalled, and what to do next.

    :param code: DingTalk's code, or a word of ours in snake_case.
    """

    code: str
    message: str
    next_step: str

    @classmethod
    def of(cls, error: DingTalkError) -> Reason:
        """The reason that an error gives."""
        return cls(error.code or NO_CODE, error.message[:_MAX_MESSAGE], error.next_step)

    def to_json(self) -> dict[str, str]:
        """The reason as plain JSON."""
        return {"code": self.code, "message": self.message, "next_step": self.next_step}


class Settled(Struct, frozen=True, gc=False):
    """What became of one message, and why."""

    outcome: Outcome
    reason: Reason | None = None


class Report(Struct, frozen=True):
    """The exact account of a recall.

    :param settled: What became of each message, by key.
    :param api_calls: Requests by what they were for: ``recall``, ``again``, ``bisect``, ``status``, ``token``;
        ``throttled`` counts those among them that DingTalk refused for pace and does not charge.
    :param duplicates: How many receipts named a message that another one named already.
    """

    settled: Mapping[str, Settled]
    api_calls: Mapping[str, int]
    duplicates: int = 0

    def keys(self, outcome: Outcome) -> list[str]:
        """The messages of one class."""
        return [key for key, settled in self.settled.items() if settled.outcome is outcome]

    def counts(self) -> dict[str, int]:
        """Messages by class, and in all."""
        by_class = Counter(settled.outcome for settled in self.settled.values())
        return {**{outcome.value: by_class[outcome] for outcome in Outcome}, "total": len(self.settled)}

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON, long lists capped; ``omitted`` counts what a cap left out."""
        counts = self.counts()
        omitted = {name: counts[name] - most for name, most in MAX_LISTED.items() if counts[name] > most}
        return {
            "version": REPORT_VERSION,
            "recalled": self.keys(Outcome.RECALLED)[: MAX_LISTED["recalled"]],
            **{outcome.value: self._reasons(outcome) for outcome in Outcome if outcome is not Outcome.RECALLED},
            "counts": counts | {"duplicates": self.duplicates},
            "api_calls": _total(self.api_calls),
            **({"omitted": omitted} if omitted else {}),
        }

    def _reasons(self, outcome: Outcome) -> dict[str, dict[str, str]]:
        listed = self.keys(outcome)[: MAX_LISTED[outcome]]
        reasons = ((key, self.settled[key].reason) for key in listed)
        return {key: reason.to_json() if reason else {} for key, reason in reasons}

    def table(self) -> str:
        """The report for people: counts, then what is not recalled by reason, then what it cost."""
        counts = self.counts()
        lines = ["   ".join(f"{name} {counts[name]}" for name in (*Outcome, "total"))]
        by_reason: Counter[tuple[Outcome, Reason | None]] = Counter(
            (settled.outcome, settled.reason)
            for settled in self.settled.values()
            if settled.outcome is not Outcome.RECALLED
        )
        for (outcome, reason), number in by_reason.most_common(10):
            lines.append(f"  {number} {outcome}: " + (f"{reason.code}. {reason.next_step}" if reason else ""))
        calls = _total(self.api_calls)
        lines.append("api calls " + "   ".join(f"{name} {number}" for name, number in calls.items()))
        return "\n".join(lines)


def _total(api_calls: Mapping[str, int]) -> dict[str, int]:
    shown = {name: number for name, number in sorted(api_calls.items()) if number}
    return {**shown, "total": calls_made(shown)}


def empty_report() -> Report:
    """The report of a recall that had nothing to do."""
    return Report({}, {})
