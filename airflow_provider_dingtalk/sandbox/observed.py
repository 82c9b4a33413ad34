"""Conversion of a probe's observations to the sandbox's switches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_dingtalk.client.endpoints import MAX_KEYS_PER_RECALL
from airflow_provider_dingtalk.probe.observed import Observation, Observed, Question

_NOT_ALL = "notRevoke.all.messages"
_TOO_MANY = "invalidParameter.processQueryKeys.overMax"
_NO_STATUS = "processQueryKey.expireTime"
#: Prefixes of the codes for a missing field.
_MISSING = ("miss.", "invalidParameter.", "openConversationId.", "invalid.openConversationId")

Switches = dict[str, Any]


def switches_of(observed: Observed) -> Switches:
    """Return the switches for the observed behaviour, without what was not observed."""
    switches: Switches = {}
    for question, read in _READERS.items():
        seen = observed.seen.get(question)
        if seen is not None and _is_conclusive(seen):
            switches |= read(seen)
    if any(seen.form == "list" for seen in observed.seen.values()):
        switches["failed_result_form"] = "list"
    if switches.get("status_after_recall") == "no_status" and "status_delay_seconds" not in switches:
        # The query may have come before DingTalk had any status, so this proves nothing.
        del switches["status_after_recall"]
    return switches | _max_keys(observed) | _readers_after_recall(observed)


def _is_conclusive(seen: Observation) -> bool:
    """Return True for an HTTP status from 200 to 499; others prove nothing."""
    return 200 <= seen.status < 500


def _status_after_recall(seen: Observation) -> Switches:
    if seen.send_status in ("RECALLED", "SUCCESS"):
        return {"status_after_recall": "recalled" if seen.send_status == "RECALLED" else "unchanged"}
    return {"status_after_recall": "no_status"} if seen.code == _NO_STATUS else {}


def _second_recall(seen: Observation) -> Switches:
    if seen.recalled:
        return {"already_recalled": "success"}
    if seen.failed:
        return {"already_recalled": "failed", "already_recalled_reason": seen.failed[0]}
    if seen.missing:
        return {"already_recalled": "omitted"}
    if seen.code == _NOT_ALL:
        return {"already_recalled": "not_revoke_all"}
    return {"already_recalled": "refused", "already_recalled_reason": seen.code} if seen.code else {}


def _unscoped_status(seen: Observation) -> Switches:
    if seen.send_status:
        return {"query_scope": "optional"}
    return {"query_scope": "required"} if seen.code.startswith(_MISSING) else {}


def _unfit_key(seen: Observation) -> Switches:
    if seen.failed:
        return {"unfit_keys": "per_key", "unknown_key_code": seen.failed[0]}
    return {"unfit_keys": "whole_batch", "unknown_key_code": seen.code} if seen.code else {}


def _duplicate_key(seen: Observation) -> Switches:
    if seen.recalled:
        return {"duplicate_keys": "once" if seen.recalled == 1 else "twice"}
    return {"duplicate_keys": "refused", "duplicate_keys_code": seen.code} if seen.code else {}


def _max_keys(observed: Observed) -> Switches:
    """Return the switch for the key limit.

    The probe names 21 made-up keys. If they are not too many, the response is the one for made-up keys.
    """
    seen, unfit = observed.seen.get(Question.TOO_MANY_KEYS), observed.seen.get(Question.UNFIT_KEY)
    if seen is None or not _is_conclusive(seen):
        return {}
    if seen.code == _TOO_MANY:
        return {"max_keys": MAX_KEYS_PER_RECALL}
    accepted = seen.failed or seen.missing or (seen.code and unfit is not None and seen.code == unfit.code)
    # The probe tried one key over the limit only, so this is all that is known.
    return {"max_keys": MAX_KEYS_PER_RECALL + 1} if accepted else {}


def _readers_after_recall(observed: Observed) -> Switches:
    """Return the switch for the readers of a recalled message.

    It is unknown if the message had no readers before, or DingTalk returned no status after.
    """
    before = observed.seen.get(Question.READ_STATUS)
    after = observed.seen.get(Question.READ_STATUS_AFTER_RECALL)
    if before is None or after is None or not before.readers or after.readers is None:
        return {}
    return {"readers_after_recall": "kept" if after.readers else "gone"}


_READERS: dict[Question, Callable[[Observation], Switches]] = {
    Question.DEAD_TOKEN: lambda s: {"dead_token_status": s.status, "dead_token_code": s.code} if s.code else {},
    Question.RECALL: lambda s: {"recall_too_early_seconds": s.after} if s.recalled else {},
    Question.STATUS_AFTER_RECALL: _status_after_recall,
    Question.SECOND_RECALL: _second_recall,
    Question.ANY_STATUS: lambda s: {"status_delay_seconds": s.after} if s.send_status else {},
    Question.STATUS: lambda s: {"processing_seconds": s.after} if s.send_status else {},
    Question.UNSCOPED_STATUS: _unscoped_status,
    Question.UNKNOWN_ROBOT: lambda s: {"unknown_robot_code": s.code} if s.code else {},
    Question.UNFIT_KEY: _unfit_key,
    Question.DUPLICATE_KEY: _duplicate_key,
}
