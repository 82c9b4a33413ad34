"""Airflow's task state store, and what can go wrong with it."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

import msgspec

from airflow_provider_dingtalk.messaging.ledger import LedgerError, SupersededError

__all__ = ["LedgerError", "Store", "SupersededError", "ause", "corrupt", "fingerprint", "slices", "use"]

T = TypeVar("T")

_NOT_FOUND = re.compile(r"\b404\b")


class Store(Protocol):
    """Airflow's ``context["task_state_store"]``, as much of it as is used. It is sync."""

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key."""

    def set(self, key: str, value: Any) -> None:
        """Keep a value, which must be JSON and not None."""


def fingerprint(*parts: Any) -> str:
    """A short name for a request: the same for the same request, another for any other."""
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()[:32]


def use(work: Callable[..., T], *arguments: Any) -> T:
    """Use the store from the task's main thread.

    :raises LedgerError: It does not answer, or not to this try.
    """
    try:
        return work(*arguments)
    except LedgerError:
        raise
    except Exception as error:
        problem = type(error).__name__
        # The only sign that Airflow gives: it no longer knows the try that asks.
        superseded = _NOT_FOUND.search(str(error)) is not None
    if superseded:
        raise SupersededError("Another try of this task has begun; this one stops.", code="superseded")
    raise LedgerError(
        f"Airflow's task state store failed ({problem}).",
        code="ledger",
        next_step="See whether Airflow's API server is up, and whether this try was superseded by another one.",
    )


async def ause(work: Callable[..., T], *arguments: Any) -> T:
    """Use the store from the event loop: in a thread, while the task's main thread waits.

    :raises LedgerError: It does not answer, or not to this try.
    """
    return await asyncio.to_thread(use, work, *arguments)


def corrupt(key: str) -> LedgerError:
    """The error for a value that this package did not write."""
    return LedgerError(
        f"The task state {key!r} holds what this package did not write; nothing was sent.",
        code="ledger_corrupt",
        next_step="Look at the state of the task in Airflow; delete that key to begin anew.",
        permanent=True,
    )


def slices(total: int, size: int) -> Iterable[range]:
    """Places from 0 to ``total``, in pieces of at most ``size``."""
    return (range(start, min(start + size, total)) for start in range(0, total, size))
