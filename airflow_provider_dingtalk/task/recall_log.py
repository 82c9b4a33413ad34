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
        #: Keys of recalled messages, by the moment from which on events are read.
        self._recalled: dict[float | None, frozenset[str]] = {}
        self._keys: dict[tuple[str, str, str], set[str]] = {}

    def recalled(self, receipts: Sequence[Receipt]) -> frozenset[str]:
        """Return the keys of recalled messages, those of the receipts among them."""
        if not receipts:
            return frozenset()
        sent = [moment for receipt in receipts if (moment := receipt.sent()) is not None]
        after = max(min(*sent, self._earliest), 0.0) if sent else None
        if after not in self._recalled:
            self._recalled[after] = self._recalled_after(None if after is None else iso(after))
        return self._recalled[after]

    def _recalled_after(self, after: str | None) -> frozenset[str]:
        # An event that a user made in Airflow's UI has no source. A rollback of many runs makes an event for each.
        sources = dict.fromkeys(
            (event.source_dag_id, event.source_run_id, event.source_task_id)
            for event in self._read_events(after)
            if event.extra.get("recalled") and event.source_task_id
        )
        return frozenset(key for source in sources for key in self._keys_of(source))

    def _keys_of(self, source: tuple[str, str, str]) -> set[str]:
        if source not in self._keys:
            self._keys[source] = self._keys_of_task(*source)
        return self._keys[source]
