"""Stores of a task that fail and stall at random: its task state store and its XComs."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Any

from airflow_provider_dingtalk.task.checkpoint.store import Store

#: Probability of a failure at the write of a receipt, at any other write, and of a stall.
FAILS, FAILS_ELSE, STALLS = 0.25, 0.02, 0.004
#: Seconds of a stall, longer than receipts wait for the checkpoint.
STALL = 1.2
#: Combinations of stores that fail.
PLACES = ((), ("store",), ("xcom",), ("store", "xcom"))
#: Error text of Airflow's client when the API server fails.
API_SERVER_ERROR = "API_SERVER_ERROR: {'status_code': 500}"


class Unreliable:
    """Random faults before each write to a store."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def hit(self, is_receipt: bool) -> None:
        """Pass, fail or delay a write."""
        chance = self._rng.random()
        if chance < STALLS:
            time.sleep(STALL)
        elif chance < STALLS + (FAILS if is_receipt else FAILS_ELSE):
            raise RuntimeError(API_SERVER_ERROR)


class UnreliableStore(Unreliable):
    """Task state store that fails and stalls."""

    def __init__(self, inner: Store, rng: Random) -> None:
        super().__init__(rng)
        self._inner = inner

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key."""
        return self._inner.get(key, default)

    def set(self, key: str, value: Any) -> None:
        """Store a value, or fail."""
        self.hit("-sent-" in key and bool(value["sent"]))
        self._inner.set(key, value)


class UnreliableXComs(Unreliable):
    """XComs that fail and stall."""

    def __init__(self, push: Callable[[str, Any], None], rng: Random) -> None:
        super().__init__(rng)
        self._push = push

    def __call__(self, key: str, value: Any) -> None:
        self.hit(key.startswith("receipts"))
        self._push(key, value)
