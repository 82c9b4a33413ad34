"""State snapshot of the control API, for tests to compare with."""

from __future__ import annotations

from typing import Any

import msgspec

from airflow_provider_dingtalk.sandbox.state import Message, ServerState

_MESSAGE_FIELDS = (
    "key",
    "kind",
    "robot_code",
    "agent_id",
    "open_conversation_id",
    "msg_key",
    "text",
    "sent_at",
    "recalled_at",
    "recalls",
)


def state_snapshot(state: ServerState, *, brief: bool = False) -> dict[str, Any]:
    """Return a state snapshot.

    :param brief: Return only time, counts and calls, at a cost that does not grow with the messages; default
        False.
    """
    # Tests read the state from another thread while the server changes it, so this iterates over copies.
    counts = {
        kind: {"sent": sent, "recalled": state.recalled[kind], "visible": sent - state.recalled[kind]}
        for kind, sent in list(state.sent.items())
    }
    calls = msgspec.to_builtins(dict(state.journal.calls))
    snapshot: dict[str, Any] = {"time": state.time(), "counts": counts, "calls": calls}
    if brief:
        return snapshot
    return snapshot | {
        "people": len(state.people),
        "conversations": [msgspec.to_builtins(chat) for chat in list(state.conversations.values())],
        "messages": [_message(state, message) for message in list(state.messages.values())],
    }


def _message(state: ServerState, message: Message) -> dict[str, Any]:
    return {name: getattr(message, name) for name in _MESSAGE_FIELDS} | {
        "status": state.send_status(message),
        "receivers": len(message.receivers),
        "readers": len(message.readers),
    }
