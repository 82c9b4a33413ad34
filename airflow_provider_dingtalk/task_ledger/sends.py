"""How far a send is, in the task state store.

One task instance may make several jobs of sending: the same one again after a clear, another one when its
input changed. The history of all of them is kept: a rollback must find what any of them sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from airflow_provider_dingtalk.messaging.ledger import Sendings, SentLetter
from airflow_provider_dingtalk.messaging.receipts import Receipt, parse_receipts
from airflow_provider_dingtalk.messaging.send import Letter
from airflow_provider_dingtalk.task_ledger.store import Store, ause, corrupt, fingerprint, slices, use

#: Letters in one row: their receipts are about 25 kilobytes, under the store's soft limit of 64.
LETTERS_PER_ROW = 100

_HISTORY = "dingtalk-send-1"


class Job(Struct, kw_only=True):
    """A job of sending that this task instance began.

    :param request: Fingerprint of its calls.
    :param letters: How many calls it has.
    :param epoch: The clear of the task it belongs to.
    :param done: Whether all of it was sent.
    """

    request: str
    letters: int
    epoch: int
    done: bool = False


class SendHistory:
    """All jobs of sending that one task instance began, the present one last.

    :param letters: The calls of the present job.
    :param epoch: Tells a retry from a clear: it is the same for all tries between two clears.
    :raises LedgerError: The store does not answer, or holds what this package did not write.
    """

    def __init__(self, store: Store, letters: Sequence[Letter], epoch: int) -> None:
        self._store = store
        self._epoch = epoch
        calls = [[letter.call.name, *msgspec.to_builtins(letter.call).values()] for letter in letters]
        self._request = fingerprint(calls)
        self._letters = len(letters)
        try:
            self._jobs = msgspec.convert(use(store.get, _HISTORY, []), list[Job])
        except msgspec.ValidationError:
            raise corrupt(_HISTORY) from None

    @property
    def is_cleared(self) -> bool:
        """Whether this job was done, and somebody cleared the task since."""
        last = self._last()
        return last is not None and last.done and last.epoch != self._epoch

    @property
    def has_changed(self) -> bool:
        """Whether an earlier try, with no clear in between, sent something else."""
        return bool(self._jobs) and self._jobs[-1].epoch == self._epoch and self._jobs[-1].request != self._request

    def begin(self, *, anew: bool = False) -> SendTaskLedger:
        """The ledger of the present job.

        :param anew: Send all of it once more, although it was done.
        :raises LedgerError: The store does not answer.
        """
        last = self._last()
        if last is None or anew:
            self._jobs.append(Job(request=self._request, letters=self._letters, epoch=self._epoch))
            self._write()
        elif last.epoch != self._epoch:
            last.epoch = self._epoch
            self._write()
        return SendTaskLedger(self._store, self._name(len(self._jobs) - 1), self._letters)

    def finish(self) -> None:
        """Take down that the present job is done.

        :raises LedgerError: The store does not answer.
        """
        self._jobs[-1].done = True
        self._write()

    def sent_so_far(self) -> list[Receipt]:
        """Receipts of all jobs of this task instance.

        :raises LedgerError: The store does not answer.
        """
        return self._receipts(len(self._jobs))

    def carried(self) -> list[Receipt]:
        """Receipts of the jobs before the present one.

        :raises LedgerError: The store does not answer.
        """
        return self._receipts(len(self._jobs) - 1)

    def _receipts(self, jobs: int) -> list[Receipt]:
        found: list[Receipt] = []
        for number, job in enumerate(self._jobs[:jobs]):
            sent = use(SendTaskLedger(self._store, self._name(number), job.letters).read).sent
            found += [letter.receipt for _, letter in sorted(sent.items())]
        return found

    def _last(self) -> Job | None:
        """The present job, if it was begun before."""
        return self._jobs[-1] if self._jobs and self._jobs[-1].request == self._request else None

    def _name(self, number: int) -> str:
        return f"{_HISTORY}-{number}-{self._jobs[number].request}"

    def _write(self) -> None:
        use(self._store.set, _HISTORY, msgspec.to_builtins(self._jobs))


class SendTaskLedger:
    """How far one job is: which letters are on their way, and the receipts of those that DingTalk accepted.

    :param name: Of the job, in the store.
    :param letters: How many calls it has.
    """

    def __init__(self, store: Store, name: str, letters: int) -> None:
        self._store = store
        self._name = name
        self._rows = [["P"] * len(places) for places in slices(letters, LETTERS_PER_ROW)]
        self._sent: list[dict[int, SentLetter]] = [{} for _ in self._rows]

    async def load(self) -> Sendings:
        """What earlier tries did."""
        return await ause(self.read)

    async def intend(self, place: int) -> None:
        """The letter at this place is about to go out."""
        await ause(self._set, place, "I")

    async def accepted(self, place: int, letter: SentLetter) -> None:
        """DingTalk accepted it. Its receipt is the proof; the row is put right with the next intent."""
        number, at = divmod(place, LETTERS_PER_ROW)
        self._rows[number][at] = "S"
        self._sent[number][at] = letter
        receipts = {
            str(at): {"receipt": letter.receipt.to_json(), "dropped": letter.dropped}
            for at, letter in self._sent[number].items()
        }
        await ause(self._store.set, self._key("receipts", number), receipts)

    async def refused(self, place: int) -> None:
        """DingTalk refused it: it was not sent."""
        await ause(self._set, place, "P")

    def read(self) -> Sendings:
        """What earlier tries did, read from the calling thread."""
        sent: dict[int, SentLetter] = {}
        in_flight: set[int] = set()
        for number in range(len(self._rows)):
            self._read_row(number)
            first = number * LETTERS_PER_ROW
            sent |= {first + at: letter for at, letter in self._sent[number].items()}
            in_flight |= {first + at for at, letter in enumerate(self._rows[number]) if letter == "I"}
        return Sendings(sent, frozenset(in_flight - set(sent)))

    def _key(self, what: str, number: int) -> str:
        return f"{self._name}-{what}-{number}"

    def _set(self, place: int, letter: str) -> None:
        number, at = divmod(place, LETTERS_PER_ROW)
        self._rows[number][at] = letter
        self._store.set(self._key("row", number), "".join(self._rows[number]))

    def _read_row(self, number: int) -> None:
        key = self._key("row", number)
        row = self._store.get(key, "P" * len(self._rows[number]))
        if not isinstance(row, str) or len(row) != len(self._rows[number]) or not set(row) <= set("PIS"):
            raise corrupt(key)
        self._rows[number] = list(row)
        key = self._key("receipts", number)
        self._sent[number] = _receipts(self._store.get(key, {}), key)


def _receipts(stored: Any, key: str) -> dict[int, SentLetter]:
    try:
        return {
            int(at): SentLetter(parse_receipts(kept["receipt"])[0], dict(kept["dropped"]))
            for at, kept in stored.items()
        }
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise corrupt(key) from None
