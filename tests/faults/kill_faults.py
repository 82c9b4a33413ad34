"""Faults that occur besides the kills; each hits at least a tenth of the calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

RECALL = "groupMessages/recall"
SEND = "oToMessages/batchSend"
#: Seconds that the sandbox's clock jumps at a kill under some faults, more than the recall window.
DAY = 25 * 3600.0


class KillFault(Struct, frozen=True, kw_only=True):
    """KillFault under which tries are killed.

    :param rules: KillFault rules of the sandbox.
    :param switches: Behaviour of the sandbox.
    :param poisoned: Number of keys that are refused permanently, together with their batches; default 0.
    :param jump: Seconds that the clock jumps at each kill; default 0.
    """

    name: str
    rules: tuple[Mapping[str, Any], ...] = ()
    switches: Mapping[str, Any] = {}
    poisoned: int = 0
    jump: float = 0.0


def rule(match: str, action: Mapping[str, Any], share: float = 0.2, when: str = "before") -> dict[str, Any]:
    """Return a rule that hits a random share of the calls."""
    return {"match": match, "probability": share, "when": when, "action": action}


def _blind(match: str) -> list[KillFault]:
    """Return faults after which the effect is not known."""
    drop, error, page = {"type": "drop"}, {"type": "status", "status": 500}, {"type": "html", "status": 502}
    return [
        KillFault(name="drop before", rules=(rule(match, drop),)),
        KillFault(name="drop after", rules=(rule(match, drop, when="after"),)),
        KillFault(name="500 before", rules=(rule(match, error),)),
        KillFault(name="500 after", rules=(rule(match, error, when="after"),)),
        KillFault(name="html 502 after", rules=(rule(match, page, when="after"),)),
    ]


def _recall(name: str, action: Mapping[str, Any], share: float = 0.2, when: str = "before", **more: Any) -> KillFault:
    return KillFault(name=name, rules=(rule(RECALL, action, share, when),), **more)


DROP_AFTER = rule(RECALL, {"type": "drop"}, when="after")

RECALL_FAULTS: tuple[KillFault, ...] = (
    *_blind(RECALL),
    _recall("truncated", {"type": "truncate", "bytes": 9}),
    _recall("null lists", {"type": "null_lists"}),
    _recall("list form", {"type": "list_form"}),
    _recall("partly failed", {"type": "fail_keys", "first": 2}),
    _recall("omitted, recalled", {"type": "omit_keys", "first": 3}),
    _recall("in both lists", {"type": "both", "first": 3}),
    _recall("not all revoked", {"type": "partial", "first": 7}),
    _recall("throttled", {"type": "throttle"}),
    _recall("dead token", {"type": "dead_token", "revoke": True}, share=0.16),
    _recall("slow, effect done", {"type": "delay", "seconds": 0.01}, share=0.5, when="after"),
    KillFault(name="poisoned keys", poisoned=8),
    KillFault(name="dropped, twice is failed", rules=(DROP_AFTER,), switches={"already_recalled": "failed"}),
    KillFault(name="the window closes", rules=(DROP_AFTER,), jump=DAY),
)

SEND_FAULTS: tuple[KillFault, ...] = (
    *_blind(SEND),
    KillFault(name="truncated", rules=(rule(SEND, {"type": "truncate", "bytes": 9}),)),
    KillFault(name="throttled", rules=(rule(SEND, {"type": "throttle"}),)),
    KillFault(name="dead token", rules=(rule(SEND, {"type": "dead_token"}, 0.16),)),
    KillFault(name="slow", rules=(rule(SEND, {"type": "delay", "seconds": 0.005}, 0.5, "after"),)),
)
