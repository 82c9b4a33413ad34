"""Views of the control API: state snapshot and request journal."""

from __future__ import annotations

from typing import Any

import msgspec

from airflow_provider_dingtalk.sandbox.state import Message, World


def truth(world: World, *, brief: bool = False) -> dict[str, Any]:
    """Return a state snapshot.

    :param brief: Return only time, counts and calls, at a cost that does not grow with the messages; default
        False.
    """
    # Tests read the state from another thread while the server changes it, so this iterates over copies.
    counts = {
        kind: {"sent": sent, "recalled": world.recalled[kind], "visible": sent - world.recalled[kind]}
        for kind, sent in list(world.sent.items())
    }
    calls = msgspec.to_builtins(dict(world.journal.calls))
    view: dict[str, Any] = {"time": world.time(), "counts": counts, "calls": calls}
    if brief:
        return view
    return view | {
        "people": len(world.people),
        "conversations": [msgspec.to_builtins(chat) for chat in list(world.conversations.values())],
        "messages": [_message(world, message) for message in list(world.messages.values())],
    }


def journal(world: World, since: int = 0) -> dict[str, Any]:
    """Return the journal's requests with a number above ``since``, oldest first."""
    return {"requests": [entry for entry in list(world.journal.entries) if entry.seq > since]}


def _message(world: World, message: Message) -> dict[str, Any]:
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
        "status": world.send_status(message),
        "receivers": len(message.receivers),
        "readers": len(message.readers),
    }
