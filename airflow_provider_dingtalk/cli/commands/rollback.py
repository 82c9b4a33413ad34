"""Command ``rollback``, which recalls messages by hand."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_dingtalk.cli import output
from airflow_provider_dingtalk.cli.exit_codes import ExitCode, exit_code_of_failures
from airflow_provider_dingtalk.cli.file_checkpoint import FileCheckpoint, checkpoint_for
from airflow_provider_dingtalk.cli.message_selection import Selection
from airflow_provider_dingtalk.client.clock import SystemClock
from airflow_provider_dingtalk.exceptions import DingTalkError
from airflow_provider_dingtalk.jobs import batching
from airflow_provider_dingtalk.jobs.recall_by_connection import RecallByConnection, by_connection
from airflow_provider_dingtalk.jobs.recall_results import KeyState
from airflow_provider_dingtalk.jobs.report import MessageResult, Outcome, Report
from airflow_provider_dingtalk.language import choose
from airflow_provider_dingtalk.messages.reason import advice
from airflow_provider_dingtalk.messages.receipt import Receipt

if TYPE_CHECKING:
    from airflow_provider_dingtalk.hooks import DingTalkHook

_PLAN_HEADER = ("kind", "robot or agent", "conversation", "messages", "sent (UTC)")
_REPORT_HEADER = ("outcome", "key", "code", "reason", "next step")


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
    checkpoint = checkpoint_for(receipts)
    left = _not_recalled(receipts, checkpoint)
    if options.dry_run:
        output.print_result(_plan(left), options.output)
        return ExitCode.DONE
    if not receipts:
        output.print_note(_nothing())
        return _left_if(selection.in_doubt, _print_report(Report(), options.output))
    _check_connections(hook, receipts)
    if not options.yes:
        for line in _plan(left).text.splitlines():
            output.print_note(line)
    question = choose(f"Recall {len(left):,} messages?", f"撤回 {len(left):,} 条消息？")
    output.confirm(question, yes=options.yes)
    return _left_if(selection.in_doubt, _recall(hook, receipts, checkpoint, options.output))


def _left_if(in_doubt: Mapping[str, int], exit_code: ExitCode) -> ExitCode:
    """Return the exit code, but not that of a whole recall if sends are in doubt, of which a warning told."""
    return ExitCode.LEFT if in_doubt and exit_code is ExitCode.DONE else exit_code


def _not_recalled(receipts: Sequence[Receipt], checkpoint: FileCheckpoint) -> list[Receipt]:
    """Return the receipts without those that an earlier command, which did not end, recalled."""
    key_results = asyncio.run(checkpoint.load())
    gone = {key for key, key_result in key_results.items() if key_result.state is KeyState.RECALLED}
    left = [receipt for receipt in receipts if receipt.key not in gone]
    if number := len(receipts) - len(left):
        output.print_note(
            choose(
                f"An earlier command recalled {number:,} of these messages already.",
                f"此前的命令已撤回其中 {number:,} 条消息。",
            )
        )
    return left


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
            problem = choose(f"{len(members):,} messages cannot be recalled", f"{len(members):,} 条消息无法撤回")
            output.print_note(f"{problem}: {error}")
    if len(errors) == len(receipts_by_conn_id):
        raise errors[0]


def _recall(
    hook: DingTalkHook, receipts: Sequence[Receipt], checkpoint: FileCheckpoint, output_format: str | None
) -> ExitCode:
    job = RecallByConnection(receipts, default=hook.dingtalk_conn_id, checkpoint=checkpoint)
    try:
        report = hook.run_recall(job)
    except BaseException as error:
        # The user needs the outcomes so far, whatever ended the recall.
        _print_report(job.report(), output_format, error)
        raise
    if job.wait:
        output.print_note(
            choose(
                f"DingTalk wants no calls for {job.wait:.0f} s. Run the command again then: it goes on.",
                f"钉钉要求 {job.wait:.0f} 秒内不再调用。届时请重新执行该命令，它会继续。",
            )
        )
    exit_code = _print_report(report, output_format)
    if exit_code is ExitCode.DONE:
        checkpoint.forget()
    return exit_code


def _print_report(report: Report, output_format: str | None, error: BaseException | None = None) -> ExitCode:
    results = report.results
    rows = [_row(key, result) for key, result in results.items()]
    text = report.table()
    not_recalled = (outcome for outcome in Outcome if outcome is not Outcome.RECALLED)
    if left := [row[:4] for outcome in not_recalled for row in rows if row[0] == outcome]:
        text += "\n\n" + output.format_table(_REPORT_HEADER[:4], left)
    document = report.to_json() | ({"error": output.error_json(error)} if isinstance(error, DingTalkError) else {})
    output.print_result(output.Result(document, _REPORT_HEADER, rows, text), output_format)
    counts = report.counts()
    if counts["recalled"] == counts["total"]:
        return ExitCode.DONE
    if counts["recalled"]:
        return ExitCode.LEFT
    return exit_code_of_failures(result.reason.code if result.reason else "" for result in results.values())


def _row(key: str, result: MessageResult) -> tuple[str, ...]:
    reason = result.reason
    return (result.outcome, key, *((reason.code, reason.message, advice(reason.next_step)) if reason else ("", "", "")))


def _plan(receipts: Sequence[Receipt]) -> output.Result:
    document, rows = _plan_json(receipts), _rows_by_sender(receipts)
    if not receipts:
        return output.Result(document, _PLAN_HEADER, rows, _nothing())
    total, calls, expired = len(receipts), document["api_calls"], len(document["expired"])
    summary = choose(
        f"{total:,} messages in about {calls:,} API calls; {expired:,} of them are too old to be recalled.",
        f"共 {total:,} 条消息，约需 {calls:,} 次 API 调用；其中 {expired:,} 条已过期，无法撤回。",
    )
    return output.Result(document, _PLAN_HEADER, rows, f"{output.format_table(_PLAN_HEADER, rows)}\n{summary}")


def _nothing() -> str:
    return choose("Nothing to recall.", "没有需要撤回的消息。")


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


def _rows_by_sender(receipts: Sequence[Receipt]) -> list[tuple[object, ...]]:
    by_sender: dict[Any, list[Receipt]] = {}
    for receipt in receipts:
        by_sender.setdefault(receipt.sender_key, []).append(receipt)
    return [
        (
            sender_key.kind,
            sender_key.robot_code or sender_key.agent_id,
            sender_key.open_conversation_id or "",
            len(members),
            _first_and_last(members),
        )
        for sender_key, members in by_sender.items()
    ]


def _first_and_last(receipts: Sequence[Receipt]) -> str:
    times = sorted({receipt.sent_at[:16] for receipt in receipts if receipt.sent_at})
    return " … ".join(dict.fromkeys((times[0], times[-1]))) if times else "unknown"
