"""Command ``status``, which shows the state and the readers of messages."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from airflow_provider_dingtalk.cli import output
from airflow_provider_dingtalk.cli.exit_codes import ExitCode
from airflow_provider_dingtalk.cli.message_selection import Selection
from airflow_provider_dingtalk.jobs import batching
from airflow_provider_dingtalk.jobs.status_reader import StatusReader
from airflow_provider_dingtalk.language import choose
from airflow_provider_dingtalk.messages.conditions import MessageStatus
from airflow_provider_dingtalk.messages.receipt import Receipt

_HEADER = ("state", "readers", "sent to", "sent (UTC)", "kind", "key")


def status(options: Namespace) -> ExitCode:
    """Show the state of the messages that the options select.

    :raises DingTalkError: If they cannot be found, or DingTalk refuses the app or cannot be reached.
    """
    selection = Selection(options)
    # Airflow takes about 1 s to import, so invalid input is reported before.
    from airflow_provider_dingtalk.hooks import DingTalkHook

    hook = DingTalkHook(options.conn_id)
    receipts = list(batching.unique(selection.receipts(hook)).values())
    job = StatusReader(receipts, readers=not options.no_readers)
    hook.run_status(job, receipts)
    states = [_state(receipt, message_status) for receipt in receipts if (message_status := job.status_of(receipt))]
    if not (states or options.output):
        output.print_note(choose("There are no messages.", "没有消息。"))
        return ExitCode.DONE
    calls = {name: number for name, number in sorted(job.used.items()) if number}
    document, rows = {"messages": states, "api_calls": calls}, list(map(_row, states))
    output.print_result(output.Result(document, _HEADER, rows, output.format_table(_HEADER, rows)), options.output)
    return ExitCode.LEFT if any("error" in state for state in states) else ExitCode.DONE


def _state(receipt: Receipt, message_status: MessageStatus) -> dict[str, Any]:
    """Return the state of a message; an error is part of it, not raised."""
    state: dict[str, Any] = {"key": receipt.key, "kind": receipt.kind, "sent_at": receipt.sent_at}
    if message_status.error:
        return {**state, "error": message_status.error.to_json()}
    return {
        **state,
        "send_status": message_status.send_status,
        "readers": None if message_status.readers is None else list(message_status.readers),
        "recipients": message_status.recipients or receipt.recipients,
    }


def _row(state: dict[str, Any]) -> tuple[object, ...]:
    readers, recipients = state.get("readers"), state.get("recipients")
    return (
        state["error"]["code"] if "error" in state else state["send_status"] or "not known yet",
        "" if readers is None else len(readers),
        "" if recipients is None else recipients,
        (state["sent_at"] or "unknown")[:16],
        state["kind"],
        state["key"],
    )
