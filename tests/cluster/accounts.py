"""Accounts: what a task reported, compared with what the sandbox knows to be true."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

CLASSES = ("recalled", "failed", "expired", "unknown")
#: Calls of a recall and of a send that can be in doubt when it is killed, and messages of one recall call.
IN_FLIGHT, SENDS_BEGUN, BATCH = 10, 20, 20
#: Figures that must be zero.
ZERO = ("lost", "false", "without_trace", "left")

Messages = Sequence[Mapping[str, Any]]


class Row(Struct, kw_only=True):
    """Figures of one row, and what does not hold.

    :param wrong: What is wrong with the account.
    :param slow: Figures of speed that fall short, which depend on the machine.
    """

    name: str
    figures: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)

    def must(self, is_so: bool, otherwise: str) -> None:
        """Record what does not hold."""
        if not is_so:
            self.wrong.append(otherwise)

    def goal(self, is_so: bool, otherwise: str) -> None:
        """Record a figure of speed that falls short."""
        if not is_so:
            self.slow.append(otherwise)

    def line(self) -> str:
        """Return the row as a line of text."""
        figures = " ".join(f"{name}={value}" for name, value in self.figures.items())
        verdict = "WRONG" if self.wrong else "SLOW " if self.slow else "holds"
        problems = "".join(f"\n       {problem}" for problem in [*self.wrong, *self.slow])
        return f"{verdict}  {self.name}: {figures}{problems}"


def failures(rows: Sequence[Row], *, accounts_only: bool) -> list[Row]:
    """Return the rows that make the exit status 1."""
    return [row for row in rows if row.wrong or (row.slow and not accounts_only)]


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the figures of all rows, and what does not hold by row."""
    return {
        "rows": {row.name: row.figures for row in rows},
        "held": sum(not row.wrong and not row.slow for row in rows),
        "wrong": {row.name: row.wrong for row in rows if row.wrong},
        "slow": {row.name: row.slow for row in rows if row.slow},
    }


def recall_account(keys: Collection[str], report: Mapping[str, Any] | None, messages: Messages) -> dict[str, int]:
    """Compare the report of a recall with the messages.

    Lists of a report may be cut, its counts never are.
    """
    report = report or {}
    counts = {name: report.get("counts", {}).get(name, 0) for name in CLASSES}
    ours = [message for message in messages if message["key"] in set(keys)]
    gone = {message["key"] for message in ours if message["recalled_at"] is not None}
    kept = {key for name in ("failed", "expired") for key in report.get(name, ())}
    return {
        "asked": len(keys),
        **counts,
        "lost": abs(len(keys) - sum(counts.values())),
        "false": max(0, counts["recalled"] - len(gone)) + len(kept & gone),
        "twice": sum(max(0, message["recalls"] - 1) for message in ours),
        "left": len(keys) - len(gone),
    }


def send_account(people: int, receipts: Collection[str], unknown: int, messages: Messages) -> dict[str, int]:
    """Compare receipts and unknown calls of a send, one for each person, with the messages."""
    keys = {message["key"] for message in messages}
    return {
        "people": people,
        "sent": len(keys),
        "receipts": len(receipts),
        "unknown": unknown,
        "lost": max(0, people - len(receipts) - unknown),
        "false": len(set(receipts) - keys),
        "twice": max(0, len(keys) - people),
        "without_trace": max(0, len(keys - set(receipts)) - unknown),
    }


def block_account(report: Mapping[str, Any] | None, messages: Messages) -> dict[str, int]:
    """Count messages that a block left in the chats, and those of them that its rollback named.

    Calls of a killed send that may have left a message are in ``sends_in_doubt``, not in ``counts``.
    """
    report = report or {}
    counts = report.get("counts", {})
    left = sum(message["recalled_at"] is None for message in messages)
    named = sum(counts.get(name, 0) for name in CLASSES if name != "recalled")
    named += sum(report.get("sends_in_doubt", {}).values())
    return {"sent": len(messages), "visible": left, "named": named, "without_trace": max(0, left - named)}


def hold(row: Row, tries: int, allowed: int) -> None:
    """Check an account: nothing lost, nothing twice but what was in flight when a try was killed.

    :param allowed: Number of tries that the work may take.
    """
    figures = row.figures
    for name in ZERO:
        row.must(not figures.get(name), f"{name} is {figures.get(name)}, expected 0")
    row.must(tries <= allowed, f"{tries} tries, expected {allowed} at most")
    kills = tries - 1
    most = {"twice": kills * IN_FLIGHT * BATCH, "unknown": 0}
    if "asked" not in figures:
        most = {"twice": 0, "unknown": kills * SENDS_BEGUN}
    for name, limit in most.items():
        row.must(figures.get(name, 0) <= limit, f"{name} is {figures.get(name)}, expected {limit} at most")


def waited(times: Iterable[float], end: float, airflow: float) -> float | None:
    """Return the seconds from the end of a fault to the next message, without Airflow's own timeouts.

    :param times: Times of all messages, in seconds since 1970.
    :param airflow: Seconds that Airflow waits by its own timeouts.
    :returns: None if there is no message after the fault.
    """
    later = [time for time in times if time > end]
    return round(max(0.0, min(later) - end - airflow), 1) if later else None
