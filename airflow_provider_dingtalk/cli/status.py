"""``status``: the state of messages, and who read them."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from typing import Any

from airflow_provider_dingtalk.api.client import DingTalkClient
from airflow_provider_dingtalk.api.clock import SystemClock
from airflow_provider_dingtalk.api.errors import AuthenticationError, DingTalkError, NotSentError
from airflow_provider_dingtalk.cli import talk
from airflow_provider_dingtalk.cli.exits import Exit
from airflow_provider_dingtalk.cli.selection import Selection
from airflow_provider_dingtalk.messaging import plan
from airflow_provider_dingtalk.messaging.receipts import Receipt
from airflow_provider_dingtalk.messaging.report import NO_CODE
from airflow_provider_dingtalk.messaging.status import read


def status(options: Namespace) -> Exit:
    """Show the state of the messages of the options.

    :raises DingTalkError: They cannot be found, or DingTalk refuses the app or cannot be reached.
    """
    selection = Selection(options)
    # Only now: Airflow takes a second to import, and bad input is told without.
    from airflow_provider_dingtalk.hooks import DingTalkHook

    hook = DingTalkHook(options.conn_id)
    hook.settings()
    receipts = list(plan.unique(selection.receipts(hook)).values())
    used: Counter[str] = Counter()
    states = hook.run(lambda client: _states(client, receipts, not options.no_readers, used))
    if options.json:
        calls = {name: number for name, number in sorted(used.items()) if number}
        talk.answer_json({"messages": states, "api_calls": calls})
    elif states:
        talk.answer(
            talk.table(("state", "readers", "sent to", "sent (UTC)", "kind", "key"), list(map(_row, states)))
        )
    else:
        talk.say("There are no messages.")
    return Exit.LEFT if any("error" in state for state in states) else Exit.DONE


async def _states(
    client: DingTalkClient, receipts: Sequence[Receipt], readers: bool, used: Counter[str]
) -> list[dict[str, Any]]:
    """The state of each message; one that DingTalk says nothing about does not hide the others."""
    now = SystemClock().now()
    found = []
    for receipt in receipts:
        state: dict[str, Any] = {"key": receipt.key, "kind": receipt.kind, "sent_at": receipt.sent_at}
        try:
            reading = await read(client, receipt, readers=readers, now=now, used=used)
        except (AuthenticationError, NotSentError):
            raise  # the others would end the same
        except DingTalkError as error:
            reason = {"code": error.code or NO_CODE, "message": error.message, "next_step": error.next_step}
            found.append({**state, "error": reason})
        else:
            counted = None if reading.readers is None else list(reading.readers)
            found.append(
                {
                    **state,
                    "send_status": reading.send_status,
                    "readers": counted,
                    "recipients": reading.recipients or receipt.recipients,
                }
            )
    return found


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
