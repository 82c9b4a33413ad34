"""Checkpoint of a recall in a file, from which a killed command resumes.

Each write is one line of JSON. The next run takes over only messages that are recalled or in doubt. It does not take
over a refusal, because a user who runs the command again has fixed something.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from airflow_provider_dingtalk.exceptions import CheckpointError
from airflow_provider_dingtalk.jobs.recall_results import KeyResult, KeyState
from airflow_provider_dingtalk.messages.receipt import Receipt

#: States that the next run takes over, and whether they are final.
_TAKEN_OVER = {KeyState.RECALLED: True, KeyState.IN_DOUBT: False}


class FileCheckpoint:
    """Checkpoint of the recall of some messages.

    :param path: Path of the file. The first write creates it, in a folder that only its owner can read.
    :param keys: Message keys. All are in doubt if a line of the file cannot be read; default none.
    """

    def __init__(self, path: Path, keys: Collection[str] = ()) -> None:
        self._path = path
        self._keys = keys

    async def load(self) -> Mapping[str, KeyResult]:
        """Read the results that an earlier command wrote, by message key.

        :raises CheckpointError: If the file cannot be read.
        """
        try:
            states = await asyncio.to_thread(self._states)
        except OSError as error:
            raise self._error(error) from None
        return {
            key: KeyResult(state, final=_TAKEN_OVER[state]) for key, state in states.items() if state in _TAKEN_OVER
        }

    def _states(self) -> dict[str, KeyState]:
        """Read the states in this file, and those of the same messages in the files of other commands."""
        states = _read(self._path, self._keys)
        for path in self._path.parent.glob("*.jsonl"):
            # The intents stand in whole lines, so a line of another file that cannot be read tells nothing more.
            others = _read(path, ()) if path != self._path else {}
            for key, state in others.items():
                if key in self._keys and (state is KeyState.RECALLED or states.get(key) not in _TAKEN_OVER):
                    states[key] = state
        return states

    async def write(self, key_results: Mapping[str, KeyResult]) -> None:
        """Append the results to the file.

        :raises CheckpointError: If the file cannot be written.
        """
        line = msgspec.json.encode({key: key_result.state for key, key_result in key_results.items()})
        try:
            await asyncio.to_thread(self._append, line)
        except OSError as error:
            raise self._error(error) from None

    def forget(self) -> None:
        """Delete the file once all messages are recalled."""
        self._path.unlink(missing_ok=True)

    def _append(self, line: bytes) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._path.open("ab", buffering=0) as file:
            # A killed command may have left an unfinished line, so this one starts with a line break.
            file.write(b"\n" + line + b"\n")

    def _error(self, error: OSError) -> CheckpointError:
        problem = f"{self._path}: {error.strerror or type(error).__name__}."
        return CheckpointError(
            problem,
            code="checkpoint",
            next_step="Set AIRFLOW_HOME to a folder that can be written.",
            next_step_zh="请将 AIRFLOW_HOME 设为可写的目录。",
        )


def _read(path: Path, keys: Collection[str]) -> dict[str, KeyState]:
    """Return the last state of each message in a file; empty if there is no file.

    :param keys: Message keys that are in doubt if a line cannot be read.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    states: dict[str, KeyState] = {}
    for line in filter(None, lines):
        try:
            states |= msgspec.json.decode(line, type=dict[str, KeyState])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            # A killed command did not finish the line, or another program wrote it, so its keys are unknown.
            # No later line changes what is recalled.
            recalled = {key: state for key, state in states.items() if state is KeyState.RECALLED}
            states = {**states, **dict.fromkeys(keys, KeyState.IN_DOUBT), **recalled}
    return states


def checkpoint_for(receipts: Sequence[Receipt]) -> FileCheckpoint:
    """Return the checkpoint that all commands for exactly these messages share."""
    keys = "\n".join(sorted({f"{receipt.kind} {receipt.key}" for receipt in receipts}))
    name = hashlib.sha256(keys.encode()).hexdigest()[:32]
    # Airflow expands it like this: "~" stays a folder name if the user has no home.
    home = Path(os.path.expanduser(os.environ.get("AIRFLOW_HOME") or "~/airflow"))  # noqa: PTH111
    return FileCheckpoint(home / "dingtalk" / "rollbacks" / f"{name}.jsonl", {receipt.key for receipt in receipts})
