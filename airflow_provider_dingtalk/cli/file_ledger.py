"""A recall's ledger in a file: a command that was killed goes on where it stopped when it is run again.

One line of JSON for each write. Only what matters to the next run is taken up: what DingTalk said is recalled,
and what was under way. A refusal is not: whoever runs a command again has mended something.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from airflow_provider_dingtalk.messaging.ledger import LedgerError
from airflow_provider_dingtalk.messaging.receipts import Receipt
from airflow_provider_dingtalk.messaging.verdicts import State, Verdict

#: States that are taken up, and whether they are certain.
_TAKEN_UP = {State.RECALLED: True, State.INTENT: False}


class FileLedger:
    """How far the recall of some messages is.

    :param path: Its file; made with the first write, in a folder that only its owner can read.
    :param keys: Keys of the messages: all of them are in doubt if a line of the file cannot be read.
    """

    def __init__(self, path: Path, keys: Collection[str] = ()) -> None:
        self._path = path
        self._keys = keys

    async def load(self) -> Mapping[str, Verdict]:
        """What an earlier command wrote.

        :raises LedgerError: The file cannot be read.
        """
        try:
            lines = await asyncio.to_thread(self._lines)
        except OSError as error:
            raise self._trouble(error) from None
        states: dict[str, State] = {}
        for line in filter(None, lines):
            try:
                states |= msgspec.json.decode(line, type=dict[str, State])
            except (msgspec.MsgspecError, UnicodeDecodeError):
                # The killed command was just writing it, or it is not ours: what it was about is not known.
                states = {**dict.fromkeys(self._keys, State.INTENT), **_certain(states)}
        return {key: Verdict(state, final=_TAKEN_UP[state]) for key, state in states.items() if state in _TAKEN_UP}

    async def write(self, verdicts: Mapping[str, Verdict]) -> None:
        """Keep these.

        :raises LedgerError: They are not kept.
        """
        line = msgspec.json.encode({key: verdict.state for key, verdict in verdicts.items()})
        try:
            await asyncio.to_thread(self._append, line)
        except OSError as error:
            raise self._trouble(error) from None

    def forget(self) -> None:
        """All is done: nobody needs the file any more."""
        self._path.unlink(missing_ok=True)

    def _lines(self) -> list[bytes]:
        return self._path.read_bytes().splitlines() if self._path.exists() else []

    def _append(self, line: bytes) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._path.open("ab", buffering=0) as file:
            # A line that a killed command did not finish must not swallow this one.
            file.write(b"\n" + line + b"\n")

    def _trouble(self, error: OSError) -> LedgerError:
        return LedgerError(
            f"{self._path}: {error.strerror or type(error).__name__}.",
            code="ledger",
            next_step="Set AIRFLOW_HOME to a folder that can be written.",
        )


def _certain(states: Mapping[str, State]) -> dict[str, State]:
    """Select what no later line can undo."""
    return {key: state for key, state in states.items() if state is State.RECALLED}


def ledger_for(receipts: Sequence[Receipt]) -> FileLedger:
    """The ledger of these messages, the same for each command that names exactly them."""
    keys = "\n".join(sorted({f"{receipt.kind} {receipt.key}" for receipt in receipts}))
    name = hashlib.sha256(keys.encode()).hexdigest()[:32]
    # As Airflow reads it: where a user has no home, "~" is a folder.
    home = Path(os.path.expanduser(os.environ.get("AIRFLOW_HOME") or "~/airflow"))  # noqa: PTH111
    return FileLedger(home / "dingtalk" / "rollbacks" / f"{name}.jsonl", {receipt.key for receipt in receipts})
