"""Checkpoint of a recall in the task state store.

State belongs to a message, by its position in the canonical order of the request. No stored value is trusted: messages
whose state cannot be read are in doubt, and are recalled again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import count
from typing import Any

import msgspec
from msgspec import Struct, field

from airflow_provider_dingtalk.jobs.batching import unique
from airflow_provider_dingtalk.jobs.recall_results import KeyResult, KeyState
from airflow_provider_dingtalk.language import get_logger
from airflow_provider_dingtalk.messages.reason import Reason
from airflow_provider_dingtalk.messages.receipt import Receipt, SenderKey
from airflow_provider_dingtalk.task.checkpoint.store import Store, ause, fingerprint, slices, use

log = get_logger(__name__)

#: Messages in one row. A call's messages lie in all rows, because these are in canonical order, and each write rewrites
#: the rows that it touches. A write takes Airflow 15 ms, whatever its size; a row has 20 kB, and 40 kB if all messages
#: failed, less than the 64 kB of which Airflow warns.
MESSAGES_PER_ROW = 20_000
#: Message keys in one row.
KEYS_PER_ROW = 1000

_RECALL, _RECALL_1 = "dingtalk-recall-2", "dingtalk-recall-1"
#: Key of the rows that name the messages of each recall, because a row of a recall has their states only.
_BEGUN = f"{_RECALL}-begun"
#: Keys of recalled messages in rows of earlier versions.
_RECALLED_2, _RECALLED_1 = "dingtalk-recalled-2", "dingtalk-recalled-1"

#: Character of a state in a row.
_CODE_OF = {
    KeyState.PENDING: "P",
    KeyState.IN_DOUBT: "I",
    KeyState.RECALLED: "R",
    KeyState.FAILED: "F",
    KeyState.EXPIRED: "X",
}
_STATE_OF = {code: state for state, code in _CODE_OF.items()}
#: Character of the first reason in a row; the next one has the next character.
_FIRST_REASON = ord("!")
_NO_REASON = " "
#: States that a clear keeps, because the message is recalled or may be.
_KEPT_BY_A_CLEAR = frozenset("IR")
_IN_DOUBT = KeyResult(KeyState.IN_DOUBT, final=False)


class EarlierRecalls(Struct, frozen=True):
    """Messages that earlier jobs of a task instance recalled.

    :param recalled: Keys of messages that DingTalk named as recalled.
    :param in_doubt: Keys of messages that version 1 of the state calls recalled.
    :param is_whole: True if all of the state could be read; if False, every message is in doubt.
    """

    recalled: frozenset[str] = frozenset()
    in_doubt: frozenset[str] = frozenset()
    is_whole: bool = True


class _StoredRow(Struct, omit_defaults=True):
    """Row as it is stored."""

    clear_count: int = field(name="epoch")
    #: One character for each message.
    codes: str = field(name="row")
    #: One character for each message, which tells the index of its reason; empty if no message has one.
    reason_codes: str = field(name="reason_of", default="")
    #: The same in earlier versions: index of the reason by the message's index in this row.
    why: dict[str, int] = {}
    reasons: list[Reason] = []

    def is_sound(self, messages: int) -> bool:
        """Return True if the row is valid for this number of messages."""
        return (
            len(self.codes) == messages
            and set(self.codes) <= _STATE_OF.keys()
            and len(self.reason_codes) in (0, messages)
            and all(at.isdecimal() and len(at) < 9 and int(at) < messages for at in self.why)
            and self._reason_indexes() <= set(range(len(self.reasons)))
        )

    def _reason_indexes(self) -> set[int]:
        codes = set(self.reason_codes) - {_NO_REASON}
        return {*self.why.values(), *(ord(code) - _FIRST_REASON for code in codes)}

    def reason_by_index(self) -> dict[int, Reason]:
        """Return the reasons by the messages' indexes in this row."""
        earlier = {int(at): index for at, index in self.why.items()}
        coded = {at: ord(code) - _FIRST_REASON for at, code in enumerate(self.reason_codes) if code != _NO_REASON}
        return {at: self.reasons[index] for at, index in (earlier | coded).items()}


class _Begun(Struct):
    """Messages of a recall that this task instance began, as they are stored: all, or those from an index on."""

    #: Name of the rows of the recall.
    recall: str
    #: Number of its messages.
    messages: int
    start: int
    keys: list[str]

    @property
    def is_sound(self) -> bool:
        """True if the indexes of the keys are those of messages."""
        return 0 <= self.start <= self.messages - len(self.keys)


class _Row:
    """State of a row's messages; the only copy in this process."""

    def __init__(self, messages: int) -> None:
        self._codes = ["P"] * messages
        self._why: dict[int, Reason] = {}

    def fill_in_doubt(self) -> None:
        """Set all messages in doubt."""
        self._codes = ["I"] * len(self._codes)

    def load(self, stored: Any, clear_count: int | None) -> bool:
        """Load a stored row, of another clear count only kept states; return False if unreadable."""
        try:
            row = msgspec.convert(stored, _StoredRow)
        except (msgspec.ValidationError, RecursionError):
            return False
        if not row.is_sound(len(self._codes)):
            return False
        if row.clear_count == clear_count:
            self._codes = list(row.codes)
            self._why = row.reason_by_index()
        else:
            self._codes = [code if code in _KEPT_BY_A_CLEAR else "P" for code in row.codes]
        return True

    def set(self, at: int, key_result: KeyResult) -> None:
        """Store the result of one message."""
        # A failure that may pass is retried in the next try, so the message is stored as pending.
        is_temporary = key_result.state is KeyState.FAILED and not key_result.final
        self._codes[at] = "P" if is_temporary else _CODE_OF[key_result.state]
        self._why.pop(at, None)
        if key_result.reason and key_result.final:
            self._why[at] = key_result.reason

    def key_result(self, at: int) -> KeyResult:
        """Return the result of one message."""
        state = _STATE_OF[self._codes[at]]
        return _IN_DOUBT if state is KeyState.IN_DOUBT else KeyResult(state, self._why.get(at))

    def to_json(self, clear_count: int) -> dict[str, Any]:
        """Return the row as plain JSON, as it is stored."""
        reasons = {reason: chr(_FIRST_REASON + index) for index, reason in enumerate(dict.fromkeys(self._why.values()))}
        codes = [_NO_REASON] * len(self._codes) if reasons else []
        for at, reason in self._why.items():
            codes[at] = reasons[reason]
        row = _StoredRow(clear_count, "".join(self._codes), "".join(codes), {}, list(reasons))
        plain: dict[str, Any] = msgspec.to_builtins(row)
        return plain


class RecallTaskCheckpoint:
    """Checkpoint of a recall: one character for each message, and the reason of a failure.

    :param receipts: Receipts of the messages, in any order, repeated or not.
    :param clear_count: Clear count, which tells a retry from a clear. Permanent failures are retried after a clear.
    :param earlier: Messages that earlier jobs of this task instance recalled; default None.
    :param per_row: Messages in one row, always the same for the same store; default 20,000.
    """

    def __init__(
        self,
        store: Store,
        receipts: Iterable[Receipt],
        clear_count: int,
        earlier: EarlierRecalls | None = None,
        *,
        per_row: int = MESSAGES_PER_ROW,
    ) -> None:
        self._store = store
        self._clear_count = clear_count
        self._earlier = earlier or EarlierRecalls()
        self._receipts = in_canonical_order(receipts)
        self._per_row = per_row
        #: Number of the row and index in it, by message key.
        self._positions = {receipt.key: divmod(index, per_row) for index, receipt in enumerate(self._receipts)}
        self._name = f"{_RECALL}-{fingerprint([_identity(receipt) for receipt in self._receipts])}"
        self._rows = [_Row(len(indexes)) for indexes in slices(len(self._receipts), per_row)]
        #: Messages of this and other recalls that the task instance began; None for each unreadable row.
        self._begun: list[_Begun | None] = []

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
                self._rows[number].fill_in_doubt()
        self._begun = list(self._read_begun())
        earlier = self._with_other_recalls()
        found = {key: self._rows[number].key_result(at) for key, (number, at) in self._positions.items()}
        return {
            key: known for key, result in found.items() if (known := _with_earlier(key, result, earlier)) is not None
        }

    def _load_row(self, number: int) -> bool:
        """Load a row; return False if it is missing."""
        name = f"{self._name}-{number}"
        stored = self._store.get(name)
        if stored is not None and not self._rows[number].load(stored, self._clear_count):
            log.warning("The task state %r cannot be read: each of its messages is recalled again.", name)
            self._rows[number].fill_in_doubt()
        return stored is not None

    def _has_version_1(self) -> bool:
        """Return True if version 1 of this state exists."""
        if self._store.get(f"{_RECALL_1}-{fingerprint(_request_of_version_1(self._receipts))}") is None:
            return False
        # Version 1 stored results in the order in which the keys came, so they cannot be matched to messages.
        log.warning(
            "An earlier version of this package began this recall. It is not known which messages it recalled: "
            "all are recalled again, and asked for their state where DingTalk refuses."
        )
        return True

    # ── other lists of messages ──────────────────────────────────────────────────────────────────────────

    def _read_begun(self) -> Iterator[_Begun | None]:
        """Yield the messages of recalls that this task instance began; None for an unreadable row."""
        for number in count():
            name = f"{_BEGUN}-{number}"
            if (stored := self._store.get(name)) is None:
                return
            try:
                begun = msgspec.convert(stored, _Begun)
            except (msgspec.ValidationError, RecursionError):
                begun = None
            if begun is None or not begun.is_sound:
                log.warning("The task state %r cannot be read: each of its messages is recalled again.", name)
                begun = None
            yield begun

    def _with_other_recalls(self) -> EarlierRecalls:
        """Return what earlier jobs recalled, or may have, also those of other lists of messages."""
        keys = {KeyState.RECALLED: {*self._earlier.recalled}, KeyState.IN_DOUBT: {*self._earlier.in_doubt}}
        for key, state in self._states_elsewhere():
            if state in keys:
                keys[state].add(key)
        is_whole = self._earlier.is_whole and None not in self._begun
        return EarlierRecalls(frozenset(keys[KeyState.RECALLED]), frozenset(keys[KeyState.IN_DOUBT]), is_whole)

    def _states_elsewhere(self) -> Iterator[tuple[str, KeyState]]:
        """Yield the states that other lists have of messages of this one."""
        row_of = cache(self._row_of)
        for begun in filter(None, self._begun):
            of_both = self._positions if begun.recall != self._name else ()
            for index, key in enumerate(begun.keys, begun.start):
                if key in of_both:
                    number, at = divmod(index, self._per_row)
                    yield key, row_of(begun.recall, begun.messages, number).key_result(at).state

    def _row_of(self, recall: str, messages: int, number: int) -> _Row:
        """Load a row of another list. A failure there does not count, because the sender may be another one."""
        row = _Row(min(self._per_row, messages - number * self._per_row))
        stored = self._store.get(f"{recall}-{number}")
        if stored is not None and not row.load(stored, None):
            row.fill_in_doubt()
        return row

    def _note_begun(self) -> None:
        """Write the messages of this recall, unless an earlier try did."""
        own = [begun for begun in self._begun if begun and begun.recall == self._name]
        keys, first = [*self._positions], len(self._begun)
        if sum(len(begun.keys) for begun in own) >= len(keys):
            return
        for number, indexes in enumerate(slices(len(keys), KEYS_PER_ROW), first):
            begun = _Begun(self._name, len(keys), indexes.start, keys[indexes.start : indexes.stop])
            self._store.set(f"{_BEGUN}-{number}", msgspec.to_builtins(begun))
            self._begun.append(begun)

    def _write(self, key_results: Mapping[str, KeyResult]) -> None:
        self._note_begun()
        touched = set()
        for key, key_result in key_results.items():
            number, at = self._positions[key]
            self._rows[number].set(at, key_result)
            touched.add(number)
        for number in sorted(touched):
            self._store.set(f"{self._name}-{number}", self._rows[number].to_json(self._clear_count))


def _with_earlier(key: str, key_result: KeyResult, earlier: EarlierRecalls) -> KeyResult | None:
    """Return the result that counts; None if nothing is known."""
    if key in earlier.recalled:
        return KeyResult(KeyState.RECALLED)
    if key_result.state is not KeyState.PENDING:
        return key_result
    return _IN_DOUBT if key in earlier.in_doubt or not earlier.is_whole else None


def in_canonical_order(receipts: Iterable[Receipt]) -> list[Receipt]:
    """Sort messages by their identity, each once, for the same list in each try."""
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
        [str(sender.kind), sender.robot_code, sender.agent_id, sender.open_conversation_id, sorted(of_sender)]
        for sender, of_sender in keys.items()
    )


def recalled_before(store: Store) -> EarlierRecalls:
    """Read the keys of recalled messages, which earlier versions stored apart from the recalls.

    :raises CheckpointError: If the store does not answer.
    """
    rows, old = list(_read_keys(store, _RECALLED_2)), _keys_of_version_1(store)
    is_whole = None not in (*rows, *old)
    if not is_whole:
        log.warning("The task state of earlier recalls cannot be read: each message is recalled again.")
    recalled = frozenset(key for row in rows for key in row or ())
    # Version 1 called some messages recalled wrongly.
    return EarlierRecalls(recalled, frozenset(key for row in old for key in row or ()) - recalled, is_whole)


def _read_keys(store: Store, name: str) -> Iterator[list[str] | None]:
    """Yield rows up to the first missing one; None if unreadable."""
    for number in count():
        stored = use(store.get, f"{name}-{number}")
        if stored is None:
            return
        try:
            yield msgspec.convert(stored, list[str])
        except (msgspec.ValidationError, RecursionError):
            yield None


def _keys_of_version_1(store: Store) -> list[list[str] | None]:
    """Return the rows of version 1; None for each unreadable one."""
    head = use(store.get, _RECALLED_1, {})
    if not isinstance(head, dict):
        return [None]
    return [row for clear_count in head for row in _read_keys(store, f"{_RECALLED_1}-{clear_count[:20]}")]
