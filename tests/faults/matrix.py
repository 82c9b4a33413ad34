"""Runner of the rows of the fault matrix, and their figures."""

from __future__ import annotations

import asyncio
import importlib
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_provider_dingtalk.exceptions import DingTalkError
from airflow_provider_dingtalk.jobs.recall import Recall
from airflow_provider_dingtalk.jobs.report import Outcome
from airflow_provider_dingtalk.sandbox.faults import Rule
from airflow_provider_dingtalk.sandbox.testing import running_sandbox
from airflow_provider_dingtalk.task.checkpoint.recall import RecallTaskCheckpoint
from tests.faults.checks import Happened, account_of, classes
from tests.faults.fixtures import CanarySandbox, Sinks, recording
from tests.faults.prepared import Unhurried
from tests.faults.scheme import Case, Row
from tests.support.airflow_seams import TaskStateStore

#: Minimum number of messages of a case. With fewer there are too few calls for a fault to hit its share.
LEAST_KEYS = 160


@dataclass
class Figures:
    """Figures of a row.

    :param state: ``held``, ``fell short``, ``elsewhere`` or ``not built``.
    :param fired: Number of calls (or messages) that faults hit.
    :param hit_share: Smallest share of hits among its cases.
    :param problems: Violated invariants, as text.
    :param notes: More figures, as text.
    """

    row: int
    name: str
    state: str = "held"
    cases: int = 0
    keys: int = 0
    fired: int = 0
    hit_share: float | None = None
    lost: int = 0
    double: int = 0
    false_recalled: int = 0
    false_failed: int = 0
    unknown: int = 0
    sent_twice: int = 0
    calls: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return the row as a line of text."""
        share = f"{self.hit_share:.0%}" if self.hit_share is not None else "  -"
        return (
            f"{self.row:>2} {self.state:<10} {self.keys:>6} keys  fired {self.fired:>5} {share:>4}  "
            f"lost {self.lost} double {self.double} false {self.false_recalled}/{self.false_failed} "
            f"unknown {self.unknown:>3}  calls {self.calls:>5}  {self.seconds:5.1f} s  {self.name}"
            + "".join(f"\n     ! {problem}" for problem in self.problems)
            + "".join(f"\n     · {note}" for note in self.notes)
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class RowRun:
    """Input of a special row: seed, number of keys, and sinks of its texts.

    :param figures: Figures of the row, to which the special row adds its own.
    """

    seed: int
    keys: int
    sinks: Sinks
    figures: Figures

    @property
    def rng(self) -> random.Random:
        return random.Random(f"{self.figures.row} {self.seed}")

    def sandbox(self, **switches: Any) -> CanarySandbox:
        """Return a sandbox whose secrets are searched for afterwards; pass it to :meth:`done` at the end."""
        sandbox = CanarySandbox(self.seed * 100 + self.figures.row)
        sandbox.behave(**switches)
        self.sinks.secrets.update(sandbox.secrets())
        return sandbox

    def done(self, sandbox: CanarySandbox) -> None:
        self.sinks.secrets.update(sandbox.secrets())
        self.figures.calls += sum(sandbox.calls().values())

    def note(self, text: str) -> None:
        self.figures.notes.append(text)


def run_row(row: Row, *, seed: int, keys: int, sinks: Sinks, fast: bool = False) -> Figures:
    """Run a row and return its figures.

    :param fast: Leave out the slow cases; default False.
    """
    figures = Figures(row.number, row.name)
    if row.elsewhere or row.missing:
        figures.state = "elsewhere" if row.elsewhere else "not built"
        figures.notes.append(row.elsewhere or row.missing)
        return figures
    began = time.monotonic()
    cases = [case for case in row.cases if not (fast and case.slow)]
    with recording(sinks):
        for case in cases:
            share = keys // (5 if case.slow else 1) // len(cases)
            _run_case(row, case, seed, max(share, LEAST_KEYS), sinks, figures)
        for special in row.specials:
            _run_special(special, RowRun(seed, keys, sinks, figures))
    figures.seconds = round(time.monotonic() - began, 2)
    if figures.problems:
        figures.state = "fell short"
    return figures


def _run_special(special: str, run: RowRun) -> None:
    module, _, name = special.partition(":")
    function: Callable[[RowRun], None] = getattr(importlib.import_module(f"tests.faults.{module}"), name)
    run.figures.cases += 1
    try:
        function(run)
    except Exception as error:  # any exception of a row makes it fall short
        run.figures.problems.append(f"{name}: {type(error).__name__}: {str(error)[:400]}")
        run.sinks.add_error(error)


# ── recalls ──────────────────────────────────────────────────────────────────────────────────────────


def _run_case(row: Row, case: Case, seed: int, keys: int, sinks: Sinks, figures: Figures) -> None:
    happened = recall_under(case, seed=seed * 100 + row.number, keys=keys, sinks=sinks)
    account = account_of(happened)
    figures.cases += 1
    figures.keys += len(happened.receipts)
    figures.fired += happened.hits
    share = happened.hits / max(happened.seen, 1)
    figures.hit_share = round(share if figures.hit_share is None else min(share, figures.hit_share), 3)
    for name in ("lost", "double", "false_recalled", "false_failed", "unknown"):
        setattr(figures, name, getattr(figures, name) + getattr(account, name))
    figures.calls += sum(happened.sandbox.calls().values())
    prefix = f"{case.label}: " if case.label else ""
    figures.problems += [prefix + problem for problem in account.problems]


def recall_under(case: Case, *, seed: int, keys: int, sinks: Sinks) -> Happened:
    """Recall under a fault."""
    sandbox, rng = CanarySandbox(seed), random.Random(seed)
    receipts = case.prepare(sandbox, keys) if case.prepare else sandbox.plant_mixture(dict(case.mix), keys)
    sandbox.behave(**case.switches)
    for injection in case.injections:
        sandbox.state.faults.add(*injection.rules(rng))
    happened = Happened(sandbox, case, receipts)
    began = time.monotonic()
    with _way_to(sandbox, case, rng) as options:
        asyncio.run(_runs(happened, options, sinks))
    happened.seconds = time.monotonic() - began
    happened.hits, happened.seen = _hits(happened, options.get("transport"))
    sinks.secrets.update(sandbox.secrets())
    return happened


@contextmanager
def _way_to(sandbox: CanarySandbox, case: Case, rng: random.Random) -> Iterator[dict[str, Any]]:
    options: dict[str, Any] = {"deadline": case.deadline}
    with ExitStack() as stack:
        if case.over_socket:
            sandbox.url = stack.enter_context(running_sandbox(sandbox.state)).url
        if case.way:
            options["transport"] = case.way(sandbox, rng)
        if case.wall_clock:
            options["clock"] = Unhurried(sandbox)
        yield options


async def _runs(happened: Happened, options: dict[str, Any], sinks: Sinks) -> None:
    """Run with one checkpoint until nothing is left to do, as Airflow does with its retries."""
    case, sandbox = happened.case, happened.sandbox
    store = TaskStateStore()
    client = sandbox.open(**options)
    try:
        while happened.runs < case.runs:
            happened.runs += 1
            checkpoint = RecallTaskCheckpoint(
                store, happened.receipts, clear_count=happened.runs if case.cleared else 0
            )
            job = Recall(happened.receipts, checkpoint=checkpoint, clock=options.get("clock") or sandbox.clock)
            happened.report = await job.run(client)
            happened.used.update(happened.report.api_calls)
            happened.accounts.append(classes(happened, happened.report))
            if not _left(happened):
                break
            sandbox.clock.advance(job.wait)
    except DingTalkError as error:
        sinks.add_error(error)
        happened.error, happened.report = error, None
    finally:
        await client.aclose()
    if happened.report:
        sinks.add("reports", happened.report.to_json(), happened.report.table())
    sinks.add("checkpoints", *store._values.values())
    sinks.add("reprs", repr(client), repr(job), repr(checkpoint))


def _left(happened: Happened) -> bool:
    """Return True if another run has something to do."""
    assert happened.report is not None
    final = frozenset() if happened.case.cleared else happened.case.failed_codes
    return any(
        result.outcome is Outcome.UNKNOWN
        or (result.outcome is Outcome.FAILED and result.reason is not None and result.reason.code not in final)
        for result in happened.report.results.values()
    )


def _hits(happened: Happened, way: Any) -> tuple[int, int]:
    """Return the number of calls that the fault hit, and of those it could have hit."""
    case, sandbox = happened.case, happened.sandbox
    if case.way:
        happened.intercepted = way.intercepted
        return way.hits, way.seen
    if case.hits_of == "keys":
        return len(sandbox.bad_keys), len(happened.receipts)
    if case.hits_of == "refused":
        most = case.switches.get("max_keys", 0)
        entries = [entry for entry in sandbox.recall_entries() if entry.keys > most]
        return sum(entry.code != "ok" for entry in entries), len(entries)
    rules: list[Rule] = sandbox.state.faults.rules
    numbers = {number for rule in rules for number in (rule.nth or ()) if number <= rule.seen}
    return len(numbers), max(rule.seen for rule in rules)
