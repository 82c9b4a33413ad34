"""Command ``rollback``, which recalls messages by hand."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_dingtalk.cli import output
from airflow_provider_dingtalk.cli.exit_codes import ExitCode, exit_code_of_failures
from airflow_provider_dingtalk.cli.file_checkpoint import checkpoint_for
from airflow_provider_dingtalk.cli.message_selection import Selection
from airflow_provider_dingtalk.client.clock import SystemClock
from airflow_provider_dingtalk.exceptions import DingTalkError
from airflow_provider_dingtalk.jobs import batching
from airflow_provider_dingtalk.jobs.recall_by_connection import RecallByConnection, by_connection
from airflow_provider_dingtalk.jobs.report import Outcome, Report
from airflow_provider_dingtalk.messages.receipt import Receipt

if TYPE_CHECKING:
    from airflow_provider_dingtalk.hooks import DingTalkHook

_NOT_RECALLED = (Outcome.FAILED, Outcome.EXPIRED, Outcome.UNKNOWN)


def rollback(options: Namespace) -> ExitCode:
    """Recall the messages that the options select.

    :raises DingTalkError: If the messages cannot be found, or the recall cannot begin.
    """
    selection = Selection(options)
    # Airflow takes about 1 s to import, so invalid input is reported before.
    from airflow_provider_dingtalk.hooks import DingTalkHook

    hook = DingTalkHook(options.conn_id)
    if not options.dry_run:
        output.check_can_confirm(yes=options.yes)
    receipts = list(batching.unique(selection.receipts(hook)).values())
    if options.dry_run:
        _print_plan(receipts, as_json=options.json)
        return ExitCode.DONE
    if not receipts:
        output.print_note("Nothing to recall.")
        return _print_report(Report(), as_json=options.json)
    _check_connections(hook, receipts)
    if not options.yes:
        output.print_note(_plan_table(receipts))
    output.confirm(f"Recall {len(receipts):,} messages?", yes=options.yes)
    return _recall(hook, receipts, as_json=options.json)


def _check_connections(hook: DingTalkHook, receipts: Sequence[Receipt]) -> None:
    """Report unusable connections before the user agrees to the recall.

    :raises DingTalkError: If none of them works.
    """
    errors: list[DingTalkError] = []
    receipts_by_conn_id = by_connection(receipts, hook.dingtalk_conn_id)
    for conn_id, members in receipts_by_conn_id.items():
        try:
            hook.of(conn_id).settings()
        except DingTalkError as error:
            errors.append(error)
            output.print_note(f"{len(members):,} messages cannot be recalled: {error}")
    if len(errors) == len(receipts_by_conn_id):
        raise errors[0]


def _recall(hook: DingTalkHook, receipts: Sequence[Receipt], *, as_json: bool) -> ExitCode:
    checkpoint = checkpoint_for(receipts)
    job = RecallByConnection(receipts, default=hook.dingtalk_conn_id, checkpoint=checkpoint)
    try:
        report = hook.run_recall(job)
    except BaseException:
        # The user needs the outcomes so far, whatever ended the recall.
        _print_report(job.report(), as_json=as_json)
        raise
    if job.wait:
        output.print_note(f"DingTalk wants no calls for {job.wait:.0f} s. Run the command again then: it goes on.")
    exit_code = _print_report(report, as_json=as_json)
    if exit_code is ExitCode.DONE:
        checkpoint.forget()
    return exit_code


def _print_report(report: Report, *, as_json: bool) -> ExitCode:
    results = report.results
    if as_json:
        output.print_json(report.to_json())
    else:
        output.print_result(report.table())
        reasons = [(outcome, key, results[key].reason) for outcome in _NOT_RECALLED for key in report.keys(outcome)]
        if reasons:
            rows = [(*of, reason.code, reason.message) if reason else (*of, "", "") for *of, reason in reasons]
            output.print_result("\n" + output.format_table(("class", "key", "code", "reason"), rows))
    counts = report.counts()
    if counts["recalled"] == counts["total"]:
        return ExitCode.DONE
    if counts["recalled"]:
        return ExitCode.LEFT
    return exit_code_of_failures(result.reason.code if result.reason else "" for result in results.values())


def _print_plan(receipts: Sequence[Receipt], *, as_json: bool) -> None:
    if as_json:
        output.print_json(_plan_json(receipts))
    else:
        output.print_result(_plan_table(receipts))


def _plan_json(receipts: Sequence[Receipt]) -> dict[str, Any]:
    now = SystemClock().now()
    expired = {receipt.key for receipt in receipts if batching.is_too_old(receipt, now)}
    return {
        "dry_run": True,
        "total": len(receipts),
        "by_kind": dict(sorted(Counter(str(receipt.kind) for receipt in receipts).items())),
        "expired": [receipt.key for receipt in receipts if receipt.key in expired],
        "api_calls": len(batching.batches(receipt for receipt in receipts if receipt.key not in expired)),
        "receipts": [receipt.to_json() for receipt in receipts],
    }


def _plan_table(receipts: Sequence[Receipt]) -> str:
    if not receipts:
        return "Nothing to recall."
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
    table = output.format_table(("kind", "robot or agent", "conversation", "messages", "sent (UTC)"), rows)
    plan = _plan_json(receipts)
    return (
        f"{table}\n{plan['total']:,} messages in about {plan['api_calls']:,} API calls; "
        f"{len(plan['expired']):,} of them are too old to be recalled."
    )


def _first_and_last(receipts: Sequence[Receipt]) -> str:
    times = sorted({receipt.sent_at[:16] for receipt in receipts if receipt.sent_at})
    return " … ".join(dict.fromkeys((times[0], times[-1]))) if times else "unknown"
