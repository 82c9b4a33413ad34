"""Version 1 of the sends' state, which is read and never written.

It named calls by their index in the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from airflow_provider_dingtalk.messages.receipt_parser import parse_receipts
from airflow_provider_dingtalk.messages.send_request import SendRequest
from airflow_provider_dingtalk.task.checkpoint.store import Store, corrupt, fingerprint

_HISTORY = "dingtalk-send-1"
_PER_ROW = 100
#: Most calls of a job. This package never wrote more, and a larger number would take too long to read.
_MOST_CALLS = 100_000


class _Job(Struct, kw_only=True):
    request: str
    letters: Annotated[int, Meta(ge=0, le=_MOST_CALLS)]
    epoch: int
    done: bool = False


class OldJob(Struct, kw_only=True):
    """Job of version 1.

    :param request: Fingerprint of its calls, receivers included.
    :param epoch: Clear count of the task when the job was written.
    :param done: True if all of it was sent.
    :param sent: Receipt, and people left out, by index of the call.
    :param in_flight: Indexes of calls that may or may not have sent.
    """

    request: str
    epoch: int
    done: bool
    sent: dict[int, tuple[dict[str, Any], dict[str, str]]]
    in_flight: set[int]


def read(store: Store) -> list[OldJob]:
    """Read all jobs; empty if version 1 never ran here.

    :raises LedgerError: If the store does not answer, or holds a value that this package did not write.
    """
    history = store.get(_HISTORY)
    if history is None:
        return []
    try:
        jobs = msgspec.convert(history, list[_Job])
    except msgspec.ValidationError:
        raise corrupt(_HISTORY) from None
    return [_read_job(store, f"{_HISTORY}-{number}-{job.request}", job) for number, job in enumerate(jobs)]


def fingerprint_of(letters: Sequence[SendRequest]) -> str:
    """Return the fingerprint that version 1 gave a request."""
    return fingerprint([[letter.call.name, *msgspec.to_builtins(letter.call).values()] for letter in letters])


def _read_job(store: Store, name: str, job: _Job) -> OldJob:
    found = OldJob(request=job.request, epoch=job.epoch, done=job.done, sent={}, in_flight=set())
    for number in range((job.letters + _PER_ROW - 1) // _PER_ROW):
        first = number * _PER_ROW
        size = min(_PER_ROW, job.letters - first)
        row = store.get(f"{name}-row-{number}", "P" * size)
        if not isinstance(row, str) or len(row) != size or not set(row) <= set("PIS"):
            raise corrupt(f"{name}-row-{number}")
        key = f"{name}-receipts-{number}"
        found.sent |= {first + at: kept for at, kept in _receipts(store.get(key, {}), key, size).items()}
        found.in_flight |= {first + at for at, letter in enumerate(row) if letter == "I"}
    found.in_flight -= set(found.sent)
    return found


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
