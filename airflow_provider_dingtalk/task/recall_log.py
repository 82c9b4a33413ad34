"""Messages that rollbacks noted as recalled in a DAG's rollback log, for tasks and commands alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from airflow_provider_dingtalk.messages.receipt import Receipt, iso


class RecallLog:
    """Messages that this or another DAG's rollbacks noted as recalled; each event is read once.

    :param read_events: Function that returns the log's events since a moment in ISO 8601, or all of them for None.
    :param keys_of: Function that returns the message keys that a task recalled, by DAG id, run id and task id.
    :param earliest: Unix time in seconds from which on events are read; earlier if a message is older.
    """

    def __init__(
        self,
        read_events: Callable[[str | None], Iterable[Any]],
        keys_of: Callable[[str, str, str], set[str]],
        earliest: float = math.inf,
    ) -> None:
        self._read_events = read_events
        self._keys_of_task = keys_of
        self._earliest = earliest
        self._events: dict[float | None, list[Any]] = {}
        self._keys: dict[tuple[str, str, str], set[str]] = {}

    def recalled(self, receipts: Sequence[Receipt]) -> set[str]:
        """Return the keys of recalled messages, those of the receipts among them."""
        if not receipts:
            return set()
        sent = [moment for receipt in receipts if (moment := receipt.sent()) is not None]
        after = max(min(*sent, self._earliest), 0.0) if sent else None
        if after not in self._events:
            self._events[after] = list(self._read_events(None if after is None else iso(after)))
        # An event that a user made in Airflow's UI has no source.
        noted = [event for event in self._events[after] if event.extra.get("recalled") and event.source_task_id]
        return {key for event in noted for key in self._keys_of(event)}

    def _keys_of(self, event: Any) -> set[str]:
        source = (event.source_dag_id, event.source_run_id, event.source_task_id)
        if source not in self._keys:
            self._keys[source] = self._keys_of_task(*source)
        return self._keys[source]
