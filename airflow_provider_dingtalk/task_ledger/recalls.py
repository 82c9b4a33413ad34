"""How far a recall is, in the task state store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from airflow_provider_dingtalk.messaging.receipts import Group, Receipt
from airflow_provider_dingtalk.messaging.report import Reason
from airflow_provider_dingtalk.messaging.verdicts import State, Verdict
from airflow_provider_dingtalk.task_ledger.store import Store, ause, corrupt, fingerprint, slices, use

#: Messages in one row, which is rewritten with every write: five kilobytes, and even if each of them failed for a
#: reason of its own fewer than the 64 of which Airflow warns. A write takes Airflow 15 ms, however long it is.
MESSAGES_PER_ROW = 5000
#: Whole keys in one row.
KEYS_PER_ROW = 1000

_RECALLED = "dingtalk-recalled-1"

_LETTER_OF = {
    State.PENDING: "P",
    State.INTENT: "I",
    State.RECALLED: "R",
    State.FAILED: "F",
    State.EXPIRED: "X",
}
_STATE_OF = {letter: state for state, letter in _LETTER_OF.items()}


class RecallTaskLedger:
    """How far a recall is: one character for each message, and the reasons of those that failed.

    :param receipts: The messages, in the order in which they are recalled.
    :param epoch: Tells a retry from a clear: what failed for good is tried again after a clear.
    :param recalled_before: Keys of messages that were recalled in a job of other messages, before a clear.
    :param per_row: Messages in one row; always the same for the same store.
    """

    def __init__(
        self,
        store: Store,
        receipts: Sequence[Receipt],
        epoch: int,
        recalled_before: Collection[str] = (),
        *,
        per_row: int = MESSAGES_PER_ROW,
    ) -> None:
        self._store = store
        self._epoch = epoch
        self._recalled_before = recalled_before
        self._place = {receipt.key: place for place, receipt in enumerate(receipts)}
        self._name = f"dingtalk-recall-1-{fingerprint(_request(receipts))}"
        self._per_row = per_row
        self._rows = [["P"] * len(keys) for keys in slices(len(self._place), per_row)]
        self._why: list[dict[str, int]] = [{} for _ in self._rows]
        self._reasons: list[Reason] = []

    async def load(self) -> Mapping[str, Verdict]:
        """What earlier tries wrote, by message key."""
        before = {key: Verdict(State.RECALLED) for key in self._recalled_before if key in self._place}
        return {**await ause(self._load), **before}

    async def write(self, verdicts: Mapping[str, Verdict]) -> None:
        """Keep these: one write for each row that they touch."""
        await ause(self._write, verdicts)

    def _load(self) -> dict[str, Verdict]:
        begun = self._store.get(self._name)
        if begun is not None and not isinstance(begun, dict):
            raise corrupt(self._name)
        cleared = begun is not None and begun.get("epoch") != self._epoch
        if begun is None or cleared:
            self._store.set(self._name, {"epoch": self._epoch})
        if begun is None:
            return {}
        self._reasons = self._load_reasons()
        for number in range(len(self._rows)):
            self._load_row(number)
        keys = iter(self._place)
        found = {key: self._verdict(*divmod(place, self._per_row)) for place, key in enumerate(keys)}
        keep = (State.INTENT, State.RECALLED) if cleared else tuple(_LETTER_OF)
        return {
            key: verdict
            for key, verdict in found.items()
            if verdict.state in keep and verdict.state is not State.PENDING
        }

    def _load_reasons(self) -> list[Reason]:
        stored = self._store.get(f"{self._name}-reasons", [])
        try:
            return msgspec.convert(stored, list[Reason])
        except msgspec.ValidationError:
            raise corrupt(f"{self._name}-reasons") from None

    def _load_row(self, number: int) -> None:
        name = f"{self._name}-{number}"
        stored = self._store.get(name)
        if stored is None:
            return
        match stored:
            case {"row": str(row), "why": dict(why)} if len(row) == len(self._rows[number]):
                known = range(len(self._reasons))
                if not set(row) <= set(_STATE_OF) or any(
                    type(at) is not int or at not in known for at in why.values()
                ):
                    raise corrupt(name)
                self._rows[number], self._why[number] = list(row), dict(why)
            case _:
                raise corrupt(name)

    def _verdict(self, number: int, at: int) -> Verdict:
        state = _STATE_OF[self._rows[number][at]]
        why = self._why[number].get(str(at))
        return Verdict(state, None if why is None else self._reasons[why], final=state is not State.INTENT)

    def _write(self, verdicts: Mapping[str, Verdict]) -> None:
        known = len(self._reasons)
        touched = {self._set(key, verdict) for key, verdict in verdicts.items()}
        if len(self._reasons) > known:
            self._store.set(f"{self._name}-reasons", msgspec.to_builtins(self._reasons))
        for number in sorted(touched):
            row = {"row": "".join(self._rows[number]), "why": self._why[number]}
            self._store.set(f"{self._name}-{number}", row)

    def _set(self, key: str, verdict: Verdict) -> int:
        number, at = divmod(self._place[key], self._per_row)
        # What failed and may pass is as good as not begun, to the next try.
        passing = verdict.state is State.FAILED and not verdict.final
        self._rows[number][at] = "P" if passing else _LETTER_OF[verdict.state]
        self._why[number].pop(str(at), None)
        if verdict.reason and verdict.final:
            self._why[number][str(at)] = self._number_of(verdict.reason)
        return number

    def _number_of(self, reason: Reason) -> int:
        if reason not in self._reasons:
            self._reasons.append(reason)
        return self._reasons.index(reason)


def _request(receipts: Sequence[Receipt]) -> list[list[Any]]:
    """What is to be recalled, in whatever order it was named."""
    keys: dict[Group, list[str]] = {}
    for receipt in receipts:
        keys.setdefault(receipt.group, []).append(receipt.key)
    return sorted([*msgspec.to_builtins(group).values(), sorted(of)] for group, of in keys.items())


class RecalledKeys:
    """Keys of all messages that a task recalled, across clears of it: a recall is not made twice.

    :param epoch: What this one recalled is its ledger's business; only earlier ones are read.
    """

    def __init__(self, store: Store, epoch: int) -> None:
        self._store = store
        self._epoch = epoch

    def before(self) -> set[str]:
        """Those of earlier epochs.

        :raises LedgerError: The store does not answer.
        """
        rows = use(self._store.get, _RECALLED, {})
        earlier = [(int(epoch), number) for epoch, number in rows.items() if int(epoch) != self._epoch]
        return {
            key
            for epoch, rows_of in earlier
            for number in range(rows_of)
            for key in use(self._store.get, f"{_RECALLED}-{epoch}-{number}", [])
        }

    def keep(self, keys: Sequence[str]) -> None:
        """Those of this epoch.

        :raises LedgerError: The store does not answer.
        """
        places = list(slices(len(keys), KEYS_PER_ROW))
        for number, row in enumerate(places):
            use(self._store.set, f"{_RECALLED}-{self._epoch}-{number}", keys[row.start : row.stop])
        if places:
            use(self._store.set, _RECALLED, {**use(self._store.get, _RECALLED, {}), str(self._epoch): len(places)})
