"""Faults that occur besides the kills; each hits at least a tenth of the calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

RECALL = "groupMessages/recall"
SEND = "oToMessages/batchSend"
#: Seconds that the sandbox's clock jumps at a kill under some faults, more than the recall window.
DAY = 25 * 3600.0


class Fault(Struct, frozen=True, kw_only=True):
    """Fault under which tries are killed.

    :param rules: Fault rules of the sandbox.
    :param switches: Behaviour of the sandbox.
    :param poisoned: Number of keys that are refused permanently, together with their batches; default 0.
    :param jump: Seconds that the clock jumps at each kill; default 0.
    """

    name: str
    rules: tuple[Mapping[str, Any], ...] = ()
    switches: Mapping[str, Any] = {}
    poisoned: int = 0
    jump: float = 0.0


def strike(match: str, action: Mapping[str, Any], share: float = 0.2, when: str = "before") -> dict[str, Any]:
    """Return a rule that hits a random share of the calls."""
    return {"match": match, "probability": share, "when": when, "action": action}


def _blind(match: str) -> list[Fault]:
    """Return faults after which the effect is not known."""
    drop, error, page = {"type": "drop"}, {"type": "status", "status": 500}, {"type": "html", "status": 502}
    return [
        Fault(name="drop before", rules=(strike(match, drop),)),
        Fault(name="drop after", rules=(strike(match, drop, when="after"),)),
        Fault(name="500 before", rules=(strike(match, error),)),
        Fault(name="500 after", rules=(strike(match, error, when="after"),)),
        Fault(name="html 502 after", rules=(strike(match, page, when="after"),)),
    ]


def _recall(name: str, action: Mapping[str, Any], share: float = 0.2, when: str = "before", **more: Any) -> Fault:
    return Fault(name=name, rules=(strike(RECALL, action, share, when),), **more)


DROP_AFTER = strike(RECALL, {"type": "drop"}, when="after")

RECALL_FAULTS: tuple[Fault, ...] = (
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
    Fault(name="poisoned keys", poisoned=8),
    Fault(name="dropped, twice is failed", rules=(DROP_AFTER,), switches={"already_recalled": "failed"}),
    Fault(name="the window closes", rules=(DROP_AFTER,), jump=DAY),
)

SEND_FAULTS: tuple[Fault, ...] = (
    *_blind(SEND),
    Fault(name="truncated", rules=(strike(SEND, {"type": "truncate", "bytes": 9}),)),
    Fault(name="throttled", rules=(strike(SEND, {"type": "throttle"}),)),
    Fault(name="dead token", rules=(strike(SEND, {"type": "dead_token"}, 0.16),)),
    Fault(name="slow", rules=(strike(SEND, {"type": "delay", "seconds": 0.005}, 0.5, "after"),)),
)
