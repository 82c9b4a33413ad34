"""What the control door shows: the truth about every message, and who asked for what."""

from __future__ import annotations

from typing import Any

import msgspec

from airflow_provider_dingtalk.sandbox.state import Message, World


def truth(world: World, *, brief: bool = False) -> dict[str, Any]:
    """What really is. ``brief``: counts and calls only, at the same cost whatever was sent."""
    # Tests look in from another thread while the server is at work: go through copies.
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
    """The last requests with a number above ``since``, oldest first."""
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
