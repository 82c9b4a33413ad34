"""Invariants of every recall: the report compared with the sandbox's state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_dingtalk.client.endpoints import MAX_KEYS_PER_RECALL
from airflow_provider_dingtalk.jobs.batching import batches, unique
from airflow_provider_dingtalk.jobs.recall import MAX_CALLS_NO_RESPONSE, WORKERS
from airflow_provider_dingtalk.jobs.report import Outcome, Report
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from tests.faults.fixtures import CanarySandbox
from tests.support.local_dingtalk import RECALL_API, TOKEN_API

#: Maximum number of calls to bisect one bad key of 20: two halves at each of five levels.
CALLS_A_BAD_KEY = 10
#: Maximum tries of a call that only reads, and of a call that gets no connection.
TRIES = 3
#: Figures that must be zero after every run.
NEVER = ("lost", "double", "false_recalled", "false_failed")


@dataclass
class Account:
    """Numbers of keys in wrong outcomes."""

    lost: int = 0
    double: int = 0
    false_recalled: int = 0
    false_failed: int = 0
    unknown: int = 0
    unknown_askable: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass
class Happened:
    """Result of a recall, over all its runs.

    :param report: Report of the last run.
    :param used: API calls in the reports of all runs.
    :param accounts: Keys in wrong outcomes after each run.
    :param error: Error that was raised instead of a report.
    :param hits: Number of calls (or messages) that the fault hit, of ``seen`` that it could have hit.
    :param intercepted: Recall calls that the transport answered, so they did not reach the sandbox.
    """

    sandbox: CanarySandbox
    case: Any
    receipts: list[Receipt]
    report: Report | None = None
    used: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    accounts: list[Account] = field(default_factory=list)
    error: BaseException | None = None
    hits: int = 0
    intercepted: int = 0
    seen: int = 0
    seconds: float = 0.0


def account_of(happened: Happened) -> Account:
    """Check all invariants of a recall."""
    report = happened.report
    if report is None:
        return Account(lost=len(happened.receipts), problems=[f"untyped: {happened.error!r}"])
    account = happened.accounts[-1]
    for earlier in happened.accounts[:-1]:
        for name in NEVER:
            setattr(account, name, getattr(account, name) + getattr(earlier, name))
        if not happened.case.stops:
            account.unknown_askable += earlier.unknown_askable
    account.problems += [
        problem
        for invariant in (_numbers, _unknown, _failed, _calls, _batch_size, _share, _more)
        for problem in invariant(happened, report, account)
    ]
    return account


def classes(happened: Happened, report: Report) -> Account:
    """Compare each key of the report and of its JSON with the sandbox's state."""
    asked = unique(happened.receipts)
    is_recalled = happened.sandbox.is_recalled
    account = Account(lost=len(asked.keys() ^ report.results.keys()), double=_in_two_lists(report))
    for key, result in report.results.items():
        receipt = asked.get(key)
        if receipt is None:
            continue
        truth = is_recalled(receipt)
        account.false_recalled += result.outcome is Outcome.RECALLED and not truth
        account.false_failed += result.outcome in (Outcome.FAILED, Outcome.EXPIRED) and truth
        account.unknown += result.outcome is Outcome.UNKNOWN
        account.unknown_askable += result.outcome is Outcome.UNKNOWN and _is_askable(receipt.kind)
    return account


def _in_two_lists(report: Report) -> int:
    plain = report.to_json()
    listed = Counter(key for outcome in Outcome for key in plain[outcome.value])
    counts = plain["counts"]
    summed = sum(counts[outcome.value] for outcome in Outcome)
    return sum(number > 1 for number in listed.values()) + abs(summed - counts["total"])


def _numbers(happened: Happened, report: Report, account: Account) -> Iterator[str]:
    for name in NEVER:
        if number := getattr(account, name):
            yield f"{name}: {number} keys"


def _unknown(happened: Happened, report: Report, account: Account) -> Iterator[str]:
    if happened.case.recovers and account.unknown_askable:
        yield f"unknown: {account.unknown_askable} keys that could have been asked about"
    ambiguous = sum(entry.keys for entry in _troubled(happened))
    if account.unknown > ambiguous:
        yield f"unknown: {account.unknown} keys of {ambiguous} in ambiguous requests"


def _failed(happened: Happened, report: Report, account: Account) -> Iterator[str]:
    """Check that only allowed codes fail, and that each failure has a reason."""
    kinds = {receipt.key: receipt.kind for receipt in happened.receipts}
    for outcome in (Outcome.FAILED, Outcome.EXPIRED, Outcome.UNKNOWN):
        codes: Counter[str] = Counter()
        for key in report.keys(outcome):
            reason = report.results[key].reason
            codes[reason.code if reason and reason.code and reason.message else ""] += _is_askable(kinds[key]) or (
                outcome is not Outcome.UNKNOWN
            )
        if outcome is Outcome.FAILED:
            strange = {code: number for code, number in codes.items() if code not in happened.case.failed_codes}
            if strange:
                yield f"failed: {strange}"
        elif outcome is Outcome.EXPIRED and codes and not happened.case.expired:
            yield f"expired: {dict(codes)}"
        if "" in codes:
            yield f"{outcome}: {codes['']} keys without a reason"


def _calls(happened: Happened, report: Report, account: Account) -> Iterator[str]:
    """Check that reported calls match those that arrived, and are at most the bound."""
    arrived, used = happened.sandbox.calls(), happened.used
    recalls = sum(arrived[api] for api in RECALL_API.values())
    billed = sum(used[why] for why in ("recall", "again", "bisect"))
    if (billed - happened.intercepted, used["token"]) != (recalls, arrived[TOKEN_API]):
        yield f"calls: {billed} recalls are billed, {recalls} arrived"
    bound = most_recalls(happened)
    if recalls > bound:
        yield f"calls: {recalls} recalls, at most {bound}"
    asked, troubled = happened.sandbox.status_calls(), sum(entry.keys for entry in _troubled(happened))
    if asked > TRIES * troubled or asked != used["status"]:
        yield f"calls: {asked} questions for {troubled} keys in doubt, {used['status']} billed"


def most_recalls(happened: Happened) -> int:
    """Return the bound of calls: batches, two per troubled call, those in flight per retry."""
    most_keys = happened.case.switches.get("max_keys", MAX_KEYS_PER_RECALL)
    planned = sum(_pieces(len(batch.keys), most_keys) for batch in batches(unique(happened.receipts).values()))
    groups = len({receipt.sender_key for receipt in happened.receipts})
    more_runs = happened.runs - 1
    rounds = MAX_CALLS_NO_RESPONSE - 1
    return planned + 2 * len(_troubled(happened)) + rounds * groups * happened.runs + WORKERS * more_runs


def _pieces(keys: int, most: int) -> int:
    """Return the calls for a batch that is bisected until the server accepts it."""
    return 1 if keys <= most else _pieces(keys // 2, most) + _pieces(keys - keys // 2, most)


def _troubled(happened: Happened) -> list[Any]:
    """Return the recall calls that a fault hit or that were refused."""
    return [entry for entry in happened.sandbox.recall_entries() if entry.faults or entry.code != "ok"]


def _batch_size(happened: Happened, report: Report, account: Account) -> Iterator[str]:
    largest = max((entry.keys for entry in happened.sandbox.recall_entries()), default=0)
    if largest > 20:
        yield f"calls: a call of {largest} keys"


def _share(happened: Happened, report: Report, account: Account) -> Iterator[str]:
    if happened.hits < 0.1 * happened.seen or not happened.hits:
        yield f"fault: it hit {happened.hits} of {happened.seen} only"


def _more(happened: Happened, report: Report, account: Account) -> Iterator[str]:
    if happened.case.most:
        try:
            happened.case.most(happened)
        except AssertionError as problem:
            yield f"calls: {problem}"


# ── additional checks of some rows ───────────────────────────────────────────────────────────────────


def stops_after_the_first_refusal(most: int) -> Callable[[Happened], None]:
    """Return a check of the maximum number of refused calls, those in flight at the first refusal."""

    def check(happened: Happened) -> None:
        refused = len(_troubled(happened))
        assert refused <= most, f"{refused} refused calls, at most {most}"

    return check


def at_most_calls_a_bad_key(happened: Happened) -> None:
    """Check that bisecting costs at most ten calls per bad key, and only bad keys are left."""
    bad = happened.sandbox.bad_keys
    searched = happened.used["bisect"]
    assert searched <= CALLS_A_BAD_KEY * len(bad), f"{searched} calls in the search for {len(bad)} bad keys"
    only_the_bad_are_left(happened)
    assert happened.sandbox.status_calls() == 0


def only_the_bad_are_left(happened: Happened) -> None:
    """Check that every good message is recalled, even in a batch with bad ones."""
    report = happened.report
    assert report is not None
    good = {receipt.key for receipt in happened.receipts} - happened.sandbox.bad_keys
    left = good - set(report.keys(Outcome.RECALLED))
    assert not left, f"{len(left)} of {len(good)} good messages are not recalled: {report.results[min(left)]}"


def _is_askable(kind: Kind) -> bool:
    """Return True if the status of such messages tells if they are recalled."""
    return message_type(kind).status_tells_recall
