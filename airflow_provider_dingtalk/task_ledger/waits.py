"""How far a rescheduled wait is, in the task state store."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from airflow_provider_dingtalk.messaging.ledger import LedgerError
from airflow_provider_dingtalk.messaging.wait_state import Seen, State
from airflow_provider_dingtalk.task_ledger.store import Store, fingerprint, use

log = logging.getLogger(__name__)

#: Messages in one row.
MESSAGES_PER_ROW = 500


class WaitTaskLedger:
    """How far a wait is: calls used, and what is as wanted, in rows of which only the changed are written.

    What cannot be read is taken as not there: a wait only looks, and may look again.

    :param watch: What is waited for, as plain JSON: a wait for something else has another place.
    :param epoch: Tells a wait from the same one after a clear, which begins anew.
    """

    def __init__(self, store: Store, watch: Mapping[str, Any], epoch: int) -> None:
        self._store = store
        self._name = f"dingtalk-wait-1-{fingerprint(watch)}"
        self._epoch = epoch
        self._written: dict[int, dict[str, Seen]] = {}

    def load(self) -> State | None:
        """What the look before wrote. None: there was none, or it cannot be read."""
        try:
            return self._load()
        except (LedgerError, msgspec.ValidationError) as error:
            log.warning("The wait begins anew: its place cannot be read (%s).", type(error).__name__)
            self._written = {}
            return None

    def _load(self) -> State | None:
        head = use(self._store.get, self._name)
        if head is None or not isinstance(head, dict) or head.get("epoch") != self._epoch:
            return None
        state = msgspec.convert(head.get("state"), State)
        for number in head.get("rows", ()):
            row = msgspec.convert(use(self._store.get, f"{self._name}-{number}", {}), dict[str, Seen])
            self._written[number] = row
            state.met |= row
        return state

    def save(self, state: State) -> None:
        """Keep this.

        :raises LedgerError: The store does not answer.
        """
        rows: dict[int, dict[str, Seen]] = {}
        for at, seen in state.met.items():
            rows.setdefault(int(at) // MESSAGES_PER_ROW, {})[at] = seen
        for number, row in rows.items():
            if row != self._written.get(number):
                use(self._store.set, f"{self._name}-{number}", msgspec.to_builtins(row))
                self._written[number] = row
        # Last, for it names the rows: a look that is killed before loses its place and nothing else.
        head = msgspec.structs.replace(state, met={})
        use(
            self._store.set,
            self._name,
            {"epoch": self._epoch, "rows": sorted(rows), "state": msgspec.to_builtins(head)},
        )
