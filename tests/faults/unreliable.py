"""Places of a task that fail and stall at random: its task state store, its XComs."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Any

from airflow_provider_dingtalk.task_ledger.store import Store

#: How often a place fails when a receipt comes, and at any other write; how often it stalls.
FAILS, FAILS_ELSE, STALLS = 0.25, 0.02, 0.004
#: Seconds of a stall: longer than the receipts wait for the ledger.
STALL = 1.2
#: Which places fail.
PLACES = ((), ("store",), ("xcom",), ("store", "xcom"))
#: What Airflow's client says when the API server fails.
API_SERVER_ERROR = "API_SERVER_ERROR: {'status_code': 500}"


class Unreliable:
    """Chance, asked before each write to a place."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def strike(self, is_receipt: bool) -> None:
        """Let the write through, or fail it, or hold it."""
        chance = self._rng.random()
        if chance < STALLS:
            time.sleep(STALL)
        elif chance < STALLS + (FAILS if is_receipt else FAILS_ELSE):
            raise RuntimeError(API_SERVER_ERROR)


class UnreliableStore(Unreliable):
    """A task state store that fails and stalls."""

    def __init__(self, inner: Store, rng: Random) -> None:
        super().__init__(rng)
        self._inner = inner

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key."""
        return self._inner.get(key, default)

    def set(self, key: str, value: Any) -> None:
        """Keep a value, or fail."""
        self.strike("-sent-" in key)
        self._inner.set(key, value)


class UnreliableXComs(Unreliable):
    """XComs that fail and stall."""

    def __init__(self, push: Callable[[str, Any], None], rng: Random) -> None:
        super().__init__(rng)
        self._push = push

    def __call__(self, key: str, value: Any) -> None:
        self.strike(key.startswith("receipts"))
        self._push(key, value)
