"""Version 1 of the sends' state, which is read and never written.

It named calls by their index in the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from airflow_provider_dingtalk.messages.receipt_parser import parse_receipts
from airflow_provider_dingtalk.messages.send_request import SendRequest
from airflow_provider_dingtalk.task.checkpoint.store import Store, corrupt, fingerprint, slices

_HISTORY = "dingtalk-send-1"
_PER_ROW = 100


class OldJob(Struct, kw_only=True):
    """Job of version 1, with its calls by their index."""

    #: Fingerprint of its calls, receivers included.
    request: str
    #: Number of its calls. Version 1 never wrote more than 100,000, which would take too long to read.
    calls: Annotated[int, Meta(ge=0, le=100_000)] = field(name="letters")
    clear_count: int = field(name="epoch")
    done: bool = False
    #: Receipt, and people left out, by index of the call.
    accepted: dict[int, tuple[dict[str, Any], dict[str, str]]] = {}
    in_flight: set[int] = set()


def read(store: Store) -> list[OldJob]:
    """Read all jobs; empty if version 1 never ran here.

    :raises CheckpointError: If the store does not answer, or holds a value that this package did not write.
    """
    try:
        jobs = msgspec.convert(store.get(_HISTORY, []), list[OldJob])
    except msgspec.ValidationError:
        raise corrupt(_HISTORY) from None
    for number, job in enumerate(jobs):
        _read_calls(store, f"{_HISTORY}-{number}-{job.request}", job)
    return jobs


def fingerprint_of(send_requests: Sequence[SendRequest]) -> str:
    """Return the fingerprint that version 1 gave a request."""
    return fingerprint([[one.call.name, *msgspec.to_builtins(one.call).values()] for one in send_requests])


def _read_calls(store: Store, name: str, job: OldJob) -> None:
    job.accepted, job.in_flight = {}, set()
    for number, indexes in enumerate(slices(job.calls, _PER_ROW)):
        states = store.get(f"{name}-row-{number}", "P" * len(indexes))
        if not isinstance(states, str) or len(states) != len(indexes) or not set(states) <= set("PIS"):
            raise corrupt(f"{name}-row-{number}")
        key = f"{name}-receipts-{number}"
        job.accepted |= {indexes[at]: kept for at, kept in _receipts(store.get(key, {}), key, len(indexes)).items()}
        job.in_flight |= {index for index, state in zip(indexes, states, strict=True) if state == "I"}
    job.in_flight -= set(job.accepted)


def _receipts(stored: Any, key: str, size: int) -> dict[int, tuple[dict[str, Any], dict[str, str]]]:
    try:
        found = {
            int(at): (parse_receipts(kept["receipt"])[0].to_json(), dict(kept["dropped"]))
            for at, kept in stored.items()
        }
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise corrupt(key) from None
    if not all(0 <= at < size for at in found):
        raise corrupt(key)
    return found
