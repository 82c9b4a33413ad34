"""Views of the control API: state snapshot and request journal."""

from __future__ import annotations

from typing import Any

import msgspec

from airflow_provider_dingtalk.sandbox.state import Message, ServerState


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
    view: dict[str, Any] = {"time": state.time(), "counts": counts, "calls": calls}
    if brief:
        return view
    return view | {
        "people": len(state.people),
        "conversations": [msgspec.to_builtins(chat) for chat in list(state.conversations.values())],
        "messages": [_message(state, message) for message in list(state.messages.values())],
    }


def journal(state: ServerState, since: int = 0) -> dict[str, Any]:
    """Return the journal's requests with a number above ``since``, oldest first."""
    return {"requests": [entry for entry in list(state.journal.entries) if entry.seq > since]}


def _message(state: ServerState, message: Message) -> dict[str, Any]:
    return {
        "key": message.key,
        "kind": message.kind,
        "robot_code": message.robot_code,
        "agent_id": message.agent_id,
        "open_conversation_id": message.open_conversation_id,
        "msg_key": message.msg_key,
        "text": message.text,
        "sent_at": message.sent_at,
        "recalled_at": message.recalled_at,
        "recalls": message.recalls,
        "status": state.send_status(message),
        "receivers": len(message.receivers),
        "readers": len(message.readers),
    }
