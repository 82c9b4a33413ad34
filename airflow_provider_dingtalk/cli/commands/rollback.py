"""Command ``rollback``, which recalls messages by hand."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_dingtalk.cli import output
from airflow_provider_dingtalk.cli.exit_codes import Exit, exit_of_codes
from airflow_provider_dingtalk.cli.file_checkpoint import checkpoint_for
from airflow_provider_dingtalk.cli.message_selection import Selection
from airflow_provider_dingtalk.exceptions import DingTalkError
from airflow_provider_dingtalk.jobs import batching
from airflow_provider_dingtalk.jobs.recall_by_connection import RecallByConnection, by_connection
from airflow_provider_dingtalk.jobs.report import Outcome, Report
from airflow_provider_dingtalk.messages.receipt import Receipt

if TYPE_CHECKING:
    from airflow_provider_dingtalk.hooks import DingTalkHook


def rollback(options: Namespace) -> Exit:
    """Recall the messages that the options select.

    :raises DingTalkError: If the messages cannot be found, or the recall cannot begin.
    """
    selection = Selection(options)
    hook = _hook(options)
    if not options.dry_run:
        output.check_somebody_agrees(yes=options.yes)
    receipts = list(batching.unique(selection.receipts(hook)).values())
    if options.dry_run:
        _tell_plan(receipts, as_json=options.json)
        return Exit.DONE
    if not receipts:
        output.say("Nothing to recall.")
        return _tell(Report(), as_json=options.json)
    _check_connections(hook, receipts)
    if not options.yes:
        output.say(_plan_table(receipts))
    output.confirm(f"Recall {len(receipts):,} messages?", yes=options.yes)
    return _recall(hook, receipts, as_json=options.json)


def _hook(options: Namespace) -> DingTalkHook:
    # Airflow takes about 1 s to import, so invalid input is reported before.
    from airflow_provider_dingtalk.hooks import DingTalkHook

    return DingTalkHook(options.conn_id)


def _check_connections(hook: DingTalkHook, receipts: Sequence[Receipt]) -> None:
    """Report unusable connections before the user agrees to the recall.

    :raises DingTalkError: If none of them works.
    """
    errors: list[DingTalkError] = []
    groups = by_connection(receipts, hook.dingtalk_conn_id)
    for conn_id, members in groups.items():
        try:
            hook.of(conn_id).settings()
        except DingTalkError as error:
            errors.append(error)
            output.say(f"{len(members):,} messages cannot be recalled: {error}")
    if len(errors) == len(groups):
        raise errors[0]


def _recall(hook: DingTalkHook, receipts: Sequence[Receipt], *, as_json: bool) -> Exit:
    checkpoint = checkpoint_for(receipts)
    job = RecallByConnection(receipts, default=hook.dingtalk_conn_id, checkpoint=checkpoint)
    try:
        report = hook.run_recall(job)
    except BaseException:
        # The user needs the outcomes so far, whatever ended the recall.
        _tell(job.report(), as_json=as_json)
        raise
    if job.wait:
        output.say(f"DingTalk wants no calls for {job.wait:.0f} s. Run the command again then: it goes on.")
    status = _tell(report, as_json=as_json)
    if status is Exit.DONE:
        checkpoint.forget()
    return status


def _tell(report: Report, *, as_json: bool) -> Exit:
    counts = report.counts()
    if as_json:
        output.answer_json(report.to_json())
    else:
        output.answer(report.table())
        if left := _rows_of_what_is_left(report):
            output.answer("\n" + output.table(("class", "key", "code", "reason"), left))
    if counts["recalled"] == counts["total"]:
        return Exit.DONE
    if counts["recalled"]:
        return Exit.LEFT
    return exit_of_codes(result.reason.code if result.reason else "" for result in report.results.values())


def _rows_of_what_is_left(report: Report) -> list[tuple[str, ...]]:
    return [
        (result.outcome, key, *((result.reason.code, result.reason.message) if result.reason else ("", "")))
        for outcome in (Outcome.FAILED, Outcome.EXPIRED, Outcome.UNKNOWN)
        for key, result in report.results.items()
        if result.outcome is outcome
    ]


# ── what would be done ───────────────────────────────────────────────────────────────────────────────


def _tell_plan(receipts: Sequence[Receipt], *, as_json: bool) -> None:
    if as_json:
        output.answer_json(_plan_json(receipts))
    else:
        output.answer(_plan_table(receipts))


def _plan_json(receipts: Sequence[Receipt]) -> dict[str, Any]:
    now = datetime.now(UTC).timestamp()
    old = [receipt for receipt in receipts if batching.is_too_old(receipt, now)]
    fresh = [receipt for receipt in receipts if not batching.is_too_old(receipt, now)]
    return {
        "dry_run": True,
        "total": len(receipts),
        "by_kind": dict(sorted(Counter(str(receipt.kind) for receipt in receipts).items())),
        "expired": [receipt.key for receipt in old],
        "api_calls": len(batching.batches(fresh)),
        "receipts": [receipt.to_json() for receipt in receipts],
    }


def _plan_table(receipts: Sequence[Receipt]) -> str:
    if not receipts:
        return "Nothing to recall."
    planned = _plan_json(receipts)
    by_sender: dict[Any, list[Receipt]] = {}
    for receipt in receipts:
        by_sender.setdefault(receipt.sender_key, []).append(receipt)
    rows = [
        (
            sender_key.kind,
            sender_key.robot_code or sender_key.agent_id,
            sender_key.open_conversation_id or "",
            len(members),
            _first_and_last(members),
        )
        for sender_key, members in by_sender.items()
    ]
    table = output.table(("kind", "robot or agent", "conversation", "messages", "sent (UTC)"), rows)
    return (
        f"{table}\n{planned['total']:,} messages in about {planned['api_calls']:,} API calls; "
        f"{len(planned['expired']):,} of them are too old to be recalled."
    )


def _first_and_last(receipts: Sequence[Receipt]) -> str:
    times = sorted(receipt.sent_at[:16] for receipt in receipts if receipt.sent_at)
    if not times:
        return "unknown"
    return times[0] if times[0] == times[-1] else f"{times[0]} … {times[-1]}"
