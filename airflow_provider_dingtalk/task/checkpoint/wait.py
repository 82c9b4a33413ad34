"""Checkpoint of a rescheduled wait in the task state store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from airflow_provider_dingtalk.exceptions import CheckpointError
from airflow_provider_dingtalk.jobs.wait_state import UNREADABLE, LastStatus, WaitState
from airflow_provider_dingtalk.language import get_logger
from airflow_provider_dingtalk.messages.conditions import Condition, Target
from airflow_provider_dingtalk.task.checkpoint.store import Store, fingerprint, use

log = get_logger(__name__)

#: Messages in one row.
MESSAGES_PER_ROW = 500


class _Head(Struct):
    """Main record, which names the rows; they hold the messages whose condition is met."""

    clear_count: int = field(name="epoch")
    rows: list[int]
    state: WaitState


class WaitTaskCheckpoint:
    """Checkpoint of a wait: calls used, and messages whose condition is met.

    A value that cannot be read counts as missing, because polls may be repeated.

    :param targets: Messages, in any order.
    :param condition: Condition of the wait; a wait for another condition has other keys.
    :param clear_count: Clear count, because a wait begins anew after a clear.
    """

    def __init__(self, store: Store, targets: Iterable[Target], condition: Condition, clear_count: int) -> None:
        self._store = store
        ids = sorted((msgspec.json.encode(target.sender_key), target.key) for target in targets)
        self._row_of = {key: index // MESSAGES_PER_ROW for index, (_, key) in enumerate(ids)}
        self._name = f"dingtalk-wait-2-{fingerprint(ids, _sorted(condition))}"
        self._clear_count = clear_count
        self._written: dict[int, dict[str, LastStatus]] = {}

    def load(self) -> WaitState | None:
        """Return the last poll's progress; None if missing or unreadable."""
        try:
            return self._load()
        except (CheckpointError, *UNREADABLE) as error:
            log.warning("The wait begins anew: its checkpoint cannot be read (%s).", type(error).__name__)
            self._written = {}
            return None

    def _load(self) -> WaitState | None:
        stored = use(self._store.get, self._name)
        if stored is None:
            return None
        head = msgspec.convert(stored, _Head)
        if head.clear_count != self._clear_count:
            return None
        for number in sorted({*head.rows} & {*self._row_of.values()}):
            row = use(self._store.get, f"{self._name}-{number}", {})
            self._written[number] = msgspec.convert(row, dict[str, LastStatus])
        met = {key: last for row in self._written.values() for key, last in row.items() if key in self._row_of}
        return msgspec.structs.replace(head.state, met_by_key=met)

    def save(self, state: WaitState) -> None:
        """Store the progress.

        :raises CheckpointError: If the store does not answer.
        """
        rows: dict[int, dict[str, LastStatus]] = {}
        for key, last in state.met_by_key.items():
            rows.setdefault(self._row_of[key], {})[key] = last
        for number, row in rows.items():
            if row != self._written.get(number):
                use(self._store.set, f"{self._name}-{number}", msgspec.to_builtins(row))
                self._written[number] = row
        # The main record names the rows, so it is last. A poll that is killed before loses only its progress.
        head = _Head(self._clear_count, sorted(rows), msgspec.structs.replace(state, met_by_key={}))
        use(self._store.set, self._name, msgspec.to_builtins(head))


def _sorted(condition: Condition) -> Mapping[str, Any]:
    """Return a condition as plain JSON with sorted sets, the same in each process."""
    plain: dict[str, Any] = msgspec.to_builtins(condition)
    return {name: sorted(value) if isinstance(value, list | tuple) else value for name, value in plain.items()}
