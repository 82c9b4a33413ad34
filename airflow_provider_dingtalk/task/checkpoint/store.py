"""Airflow's task state store, and its errors."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from airflow_provider_dingtalk.exceptions import CheckpointError, SupersededError

T = TypeVar("T")

_NOT_FOUND = re.compile(r"\b404\b")


class Store(Protocol):
    """Used part of Airflow's ``context["task_state_store"]``, which is sync."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key."""

    def set(self, key: str, value: Any) -> None:
        """Store a value, which must be JSON and not None."""


def fingerprint(*parts: Any) -> str:
    """Return a 32-character hash of a request."""
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()[:32]


def use(work: Callable[..., T], *arguments: Any) -> T:
    """Use the store from the task's main thread.

    :raises CheckpointError: If the store does not answer.
    :raises SupersededError: If another try has begun.
    """
    try:
        return work(*arguments)
    except CheckpointError:
        raise
    except Exception as error:
        problem = type(error).__name__
        # Airflow's only sign that the try was superseded is the 404.
        superseded = _NOT_FOUND.search(str(error)) is not None
    if superseded:
        raise SupersededError("Another try of this task has begun; this one stops.", code="superseded")
    raise CheckpointError(
        f"Airflow's task state store failed ({problem}).",
        message_zh=f"Airflow 的任务状态存储出错（{problem}）。",
        code="checkpoint",
        next_step="See whether Airflow's API server is up, and whether this try was superseded by another one.",
    )


async def ause(work: Callable[..., T], *arguments: Any) -> T:
    """Use the store from an event loop, in another thread; see :func:`use`."""
    return await asyncio.to_thread(use, work, *arguments)


def corrupt(key: str) -> CheckpointError:
    """Return the error for a value that this package did not write."""
    return CheckpointError(
        f"The task state {key!r} holds what this package did not write; nothing was sent.",
        message_zh=f"任务状态 {key!r} 的内容不是本软件包写入的；未发送任何消息。",
        code="checkpoint_corrupt",
        next_step="Look at the state of the task in Airflow; delete that key to begin anew.",
        permanent=True,
    )


def slices(total: int, size: int) -> Sequence[range]:
    """Split the indexes below ``total`` into ranges of at most ``size``."""
    return [range(start, min(start + size, total)) for start in range(0, total, size)]
