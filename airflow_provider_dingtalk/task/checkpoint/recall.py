"""Checkpoint of a recall in the task state store.

State belongs to a message. Its index is its position in the canonical order of the request, and the rows are named
after that order. In each try the keys may come in any order, repeated, and in any container.

No stored value is trusted. Messages whose state cannot be read may have been recalled by an earlier call, so they
are in doubt. They are recalled again, and a refusal is settled by their own status.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import msgspec
from msgspec import Struct

from airflow_provider_dingtalk.jobs.batching import unique
from airflow_provider_dingtalk.jobs.recall_results import KeyResult, KeyState
from airflow_provider_dingtalk.messages.reason import Reason
from airflow_provider_dingtalk.messages.receipt import Receipt, SenderKey
from airflow_provider_dingtalk.task.checkpoint.store import Store, ause, fingerprint, slices, use

log = logging.getLogger(__name__)

#: Messages in one row, which each write rewrites. A row has 5 kB, and less than the 64 kB of which Airflow warns
#: even if all messages failed. A write takes Airflow 15 ms, whatever its size.
MESSAGES_PER_ROW = 5000
#: Message keys in one row.
KEYS_PER_ROW = 1000

_RECALL, _RECALL_1 = "dingtalk-recall-2", "dingtalk-recall-1"
_RECALLED, _RECALLED_1 = "dingtalk-recalled-2", "dingtalk-recalled-1"

_LETTER_OF = {
    KeyState.PENDING: "P",
    KeyState.IN_DOUBT: "I",
    KeyState.RECALLED: "R",
    KeyState.FAILED: "F",
    KeyState.EXPIRED: "X",
}
_STATE_OF = {letter: state for state, letter in _LETTER_OF.items()}
#: States that a clear keeps, because the message is recalled or may be.
_KEPT_BY_A_CLEAR = frozenset("IR")
_IN_DOUBT = KeyResult(KeyState.IN_DOUBT, final=False)


class Before(Struct, frozen=True):
    """Messages that earlier jobs of a task instance recalled.

    :param recalled: Keys of messages that DingTalk named as recalled.
    :param in_doubt: Keys of messages that version 1 of the state calls recalled.
    :param is_whole: True if all of the state could be read; if False, every message is in doubt.
    """

    recalled: frozenset[str] = frozenset()
    in_doubt: frozenset[str] = frozenset()
    is_whole: bool = True


class _StoredRow(Struct):
    """Row as it is stored.

    :param epoch: Clear count of the task when the row was written.
    :param row: One letter for each message.
    :param why: Indexes into ``reasons``, by the message's index in this row.
    :param reasons: Reasons of messages that are not recalled, each once.
    """

    epoch: int
    row: str
    why: dict[str, int] = {}
    reasons: list[Reason] = []

    def is_sound(self, messages: int) -> bool:
        """Return True if the row is valid for this number of messages."""
        indexes, known = range(messages), range(len(self.reasons))
        return (
            len(self.row) == messages
            and set(self.row) <= _STATE_OF.keys()
            and all(at.isdecimal() and len(at) < 9 and int(at) in indexes for at in self.why)
            and all(reason in known for reason in self.why.values())
        )


class _Row:
    """State of a row's messages; the only copy in this process."""

    def __init__(self, messages: int) -> None:
        self.letters = ["P"] * messages
        self._why: dict[int, Reason] = {}

    def fill(self, letter: str) -> None:
        """Give all messages the same letter."""
        self.letters = [letter] * len(self.letters)

    def take(self, stored: _StoredRow, epoch: int) -> None:
        """Load a stored row; from before a clear only kept states."""
        if stored.epoch == epoch:
            self.letters = list(stored.row)
            self._why = {int(at): stored.reasons[reason] for at, reason in stored.why.items()}
        else:
            self.letters = [letter if letter in _KEPT_BY_A_CLEAR else "P" for letter in stored.row]

    def set(self, at: int, key_result: KeyResult) -> None:
        """Store the result of one message."""
        # A failure that may pass is retried in the next try, so the message is stored as pending.
        passing = key_result.state is KeyState.FAILED and not key_result.final
        self.letters[at] = "P" if passing else _LETTER_OF[key_result.state]
        self._why.pop(at, None)
        if key_result.reason and key_result.final:
            self._why[at] = key_result.reason

    def key_result(self, at: int) -> KeyResult:
        """Return the result of one message."""
        state = _STATE_OF[self.letters[at]]
        return _IN_DOUBT if state is KeyState.IN_DOUBT else KeyResult(state, self._why.get(at))

    def to_json(self, epoch: int) -> dict[str, Any]:
        """Return the row as plain JSON, as it is stored."""
        reasons = {reason: number for number, reason in enumerate(dict.fromkeys(self._why.values()))}
        why = {str(at): reasons[reason] for at, reason in self._why.items()}
        return {
            "epoch": epoch,
            "row": "".join(self.letters),
            "why": why,
            "reasons": msgspec.to_builtins(list(reasons)),
        }


class RecallTaskCheckpoint:
    """Checkpoint of a recall, with one character for each message.

    Messages that failed have a reason too.

    :param store: Airflow's task state store.
    :param receipts: Receipts of the messages, in any order, repeated or not.
    :param epoch: Clear count, which tells a retry from a clear. Permanent failures are retried after a clear.
    :param before: Messages that earlier jobs of this task instance recalled; default None.
    :param per_row: Messages in one row, always the same for the same store; default 5000.
    """

    def __init__(
        self,
        store: Store,
        receipts: Iterable[Receipt],
        epoch: int,
        before: Before | None = None,
        *,
        per_row: int = MESSAGES_PER_ROW,
    ) -> None:
        self._store = store
        self._epoch = epoch
        self._before = before or Before()
        self._receipts = in_canonical_order(receipts)
        self._index = {receipt.key: index for index, receipt in enumerate(self._receipts)}
        self._name = f"{_RECALL}-{fingerprint([_identity(receipt) for receipt in self._receipts])}"
        self._per_row = per_row
        self._rows = [_Row(len(indexes)) for indexes in slices(len(self._index), per_row)]

    async def load(self) -> Mapping[str, KeyResult]:
        """Return the results that earlier tries wrote, by message key."""
        return await ause(self._load)

    async def write(self, key_results: Mapping[str, KeyResult]) -> None:
        """Store results, with one write for each row that they touch."""
        await ause(self._write, key_results)

    def _load(self) -> dict[str, KeyResult]:
        missing = [number for number in range(len(self._rows)) if not self._load_row(number)]
        if missing and self._has_version_1():
            for number in missing:
                self._rows[number].fill("I")
        found = {key: self._rows[number].key_result(at) for key, (number, at) in self._places()}
        return {key: said for key, was in found.items() if (said := self._with_before(key, was)) is not None}

    def _load_row(self, number: int) -> bool:
        """Load a row; return False if it is missing."""
        name = f"{self._name}-{number}"
        stored = self._store.get(name)
        if stored is None:
            return False
        row = _row_of(stored, len(self._rows[number].letters))
        if row is None:
            log.warning("The task state %r cannot be read: each of its messages is recalled again.", name)
            self._rows[number].fill("I")
        else:
            self._rows[number].take(row, self._epoch)
        return True

    def _has_version_1(self) -> bool:
        """Return True if version 1 of this state exists.

        It stored results by index, in the order in which the keys came, so they cannot be matched to messages.
        """
        if self._store.get(f"{_RECALL_1}-{fingerprint(_request_of_version_1(self._receipts))}") is None:
            return False
        log.warning(
            "An earlier version of this package began this recall. It is not known which messages it recalled: "
            "all are recalled again, and asked for their state where DingTalk refuses."
        )
        return True

    def _places(self) -> Iterator[tuple[str, tuple[int, int]]]:
        return ((key, divmod(index, self._per_row)) for key, index in self._index.items())

    def _with_before(self, key: str, key_result: KeyResult) -> KeyResult | None:
        """Return the result that counts; None if nothing is known."""
        if key in self._before.recalled:
            return KeyResult(KeyState.RECALLED)
        if key_result.state is not KeyState.PENDING:
            return key_result
        return _IN_DOUBT if key in self._before.in_doubt or not self._before.is_whole else None

    def _write(self, key_results: Mapping[str, KeyResult]) -> None:
        for number in sorted({self._set(key, key_result) for key, key_result in key_results.items()}):
            self._store.set(f"{self._name}-{number}", self._rows[number].to_json(self._epoch))

    def _set(self, key: str, key_result: KeyResult) -> int:
        number, at = divmod(self._index[key], self._per_row)
        self._rows[number].set(at, key_result)
        return number


def _row_of(stored: Any, messages: int) -> _StoredRow | None:
    """Return a stored row; None if this version did not write it."""
    try:
        row = msgspec.convert(stored, _StoredRow)
    except (msgspec.ValidationError, RecursionError):
        return None
    return row if row.is_sound(messages) else None


def in_canonical_order(receipts: Iterable[Receipt]) -> list[Receipt]:
    """Sort messages by their identity, each once.

    The list is the same for the same messages, in whatever order they come.
    """
    return sorted(unique(receipts).values(), key=lambda receipt: msgspec.json.encode(_identity(receipt)))


def _identity(receipt: Receipt) -> list[Any]:
    """Return the fields that tell a message from all others."""
    return [*msgspec.structs.astuple(receipt.sender_key), receipt.key]


def _request_of_version_1(receipts: Iterable[Receipt]) -> list[list[Any]]:
    """Return the request after which version 1 named its rows."""
    keys: dict[SenderKey, list[str]] = {}
    for receipt in receipts:
        keys.setdefault(receipt.sender_key, []).append(receipt.key)
    return sorted(
        [str(sender_key.kind), sender_key.robot_code, sender_key.agent_id, sender_key.open_conversation_id, sorted(of)]
        for sender_key, of in keys.items()
    )


class RecalledKeys:
    """Keys of all messages that a task instance's jobs recalled.

    They prevent a second recall.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: list[list[str] | None] | None = None

    def before(self) -> Before:
        """Read the keys.

        :raises LedgerError: If the store does not answer.
        """
        rows = self._rows = list(self._read(_RECALLED))
        old, is_old_whole = self._of_version_1()
        if None in rows or not is_old_whole:
            log.warning("The task state of earlier recalls cannot be read: each message is recalled again.")
        recalled = frozenset(key for row in rows for key in row or ())
        return Before(recalled, old - recalled, None not in rows and is_old_whole)

    def keep(self, keys: Sequence[str]) -> None:
        """Add keys.

        :raises LedgerError: If the store does not answer.
        """
        rows = list(self._read(_RECALLED)) if self._rows is None else self._rows
        self._rows = rows
        known = {key for row in rows for key in row or ()}
        fresh = [key for key in dict.fromkeys(keys) if key not in known]
        # The last row is filled up first. A row that cannot be read is left unchanged.
        last = rows[-1] if rows and rows[-1] is not None and len(rows[-1]) < KEYS_PER_ROW else None
        first, merged = (len(rows), fresh) if last is None else (len(rows) - 1, last + fresh)
        if fresh:
            for number, slice_ in enumerate(slices(len(merged), KEYS_PER_ROW), first):
                row = merged[slice_.start : slice_.stop]
                use(self._store.set, f"{_RECALLED}-{number}", row)
                rows[number:] = [row]

    def _read(self, name: str) -> Iterator[list[str] | None]:
        """Yield rows up to the first missing one; None if unreadable."""
        for number in count():
            stored = use(self._store.get, f"{name}-{number}")
            if stored is None:
                return
            try:
                yield msgspec.convert(stored, list[str])
            except (msgspec.ValidationError, RecursionError):
                yield None

    def _of_version_1(self) -> tuple[frozenset[str], bool]:
        """Return the keys that version 1 called recalled, some of them wrongly.

        :returns: The keys, and True if all of them could be read.
        """
        head = use(self._store.get, _RECALLED_1, {})
        if not isinstance(head, dict):
            return frozenset(), False
        rows = [row for epoch in head for row in self._read(f"{_RECALLED_1}-{epoch[:20]}")]
        return frozenset(key for row in rows for key in row or ()), None not in rows
