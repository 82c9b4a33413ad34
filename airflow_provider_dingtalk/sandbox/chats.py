"""Chats, faults, meters and last calls, as the page shows them."""

from __future__ import annotations

from itertools import islice
from typing import Any

import msgspec

from airflow_provider_dingtalk.sandbox.state import Message, ServerState

#: Messages and calls that the page shows, the newest ones; and people named for each message.
MESSAGES, CALLS, PEOPLE = 500, 60, 100


def chats(state: ServerState) -> dict[str, Any]:
    """Return what the page shows; the size does not grow beyond the newest 500 messages."""
    messages = [_shown(message) for message in islice(reversed(list(state.messages.values())), MESSAGES)][::-1]
    return {
        "time": state.time(),
        "offset": state.clock_offset,
        "counts": state.snapshot(brief=True)["counts"],
        "people": dict(islice(state.people.items(), PEOPLE)),
        "conversations": [
            {"id": chat.open_conversation_id, "kind": chat.kind}
            for chat in islice(state.conversations.values(), PEOPLE)
        ],
        "messages": messages,
        "faults": state.faults.rules,
        "meters": state.meter.calls_by_api(state.behaviour, state.time()),
        "calls_per_second": state.behaviour.calls_per_second,
        "calls_this_month": state.meter.calls_this_month,
        "calls_per_month": state.behaviour.calls_per_month,
        "calls": list(islice(reversed(state.journal.entries), CALLS)),
    }


def _shown(message: Message) -> dict[str, Any]:
    return {
        "key": message.key,
        "kind": message.kind,
        "sender": message.robot_code or f"agent {message.agent_id}",
        "chat": message.open_conversation_id,
        "sent_at": message.sent_at,
        "recalled": message.recalled_at is not None,
        "template": message.msg_key,
        "text": message.text,
        "param": msgspec.Raw(message.msg_param.encode()),
        "receivers": message.receivers[:PEOPLE],
        "receiver_count": len(message.receivers),
        "readers": list(islice(message.readers, PEOPLE)),
        "reader_count": len(message.readers),
    }
