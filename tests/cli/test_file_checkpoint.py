"""Checkpoint file of a killed command: all it says about a message is true."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from airflow_provider_dingtalk.cli.file_checkpoint import FileCheckpoint, checkpoint_for
from airflow_provider_dingtalk.jobs.recall_results import RECALLED, KeyResult, KeyState
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt

IN_DOUBT = KeyResult(KeyState.IN_DOUBT, final=False)
KEYS = ("a", "b", "c")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rollbacks" / "one.jsonl"


def test_state_belongs_to_messages_in_whatever_order_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    receipts = [Receipt(kind=Kind.OTO, robot_code="r", process_query_key=key) for key in KEYS]
    asyncio.run(checkpoint_for(receipts).write({"b": RECALLED, "c": IN_DOUBT}))
    assert asyncio.run(checkpoint_for(receipts[::-1] + receipts).load()) == {"b": RECALLED, "c": IN_DOUBT}


LINES = [
    b'{"b": "recalled", "c": "int',
    b"\xff\xfe",
    b'{"\xff": "recalled"}',
    b"[" * 100_000,
    b'{"a": 1}',
    b'{"a": "somehow"}',
    b"null",
    b"[]",
]


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_a_line_that_cannot_be_read_leaves_each_other_message_in_doubt(path: Path, line: bytes) -> None:
    checkpoint = FileCheckpoint(path, KEYS)
    asyncio.run(checkpoint.write({"a": RECALLED}))
    with path.open("ab") as file:
        file.write(line)
    assert asyncio.run(FileCheckpoint(path, KEYS).load()) == {"a": RECALLED, "b": IN_DOUBT, "c": IN_DOUBT}
    asyncio.run(checkpoint.write({"b": RECALLED, "c": KeyResult(KeyState.FAILED)}))
    assert asyncio.run(FileCheckpoint(path, KEYS).load()) == {"a": RECALLED, "b": RECALLED}


def test_state_is_found_by_a_command_for_more_or_fewer_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    receipts = [Receipt(kind=Kind.OTO, robot_code="r", process_query_key=key) for key in KEYS]
    asyncio.run(checkpoint_for(receipts[:2]).write({"a": RECALLED, "b": IN_DOUBT}))
    (other,) = (tmp_path / "dingtalk" / "rollbacks").iterdir()
    other.write_bytes(other.read_bytes() + LINES[0])
    assert asyncio.run(checkpoint_for(receipts).load()) == {"a": RECALLED, "b": IN_DOUBT}
    asyncio.run(checkpoint_for(receipts).write({"b": RECALLED, "c": IN_DOUBT}))
    assert asyncio.run(checkpoint_for(receipts).load()) == {"a": RECALLED, "b": RECALLED, "c": IN_DOUBT}
    assert asyncio.run(checkpoint_for(receipts[1:]).load()) == {"b": RECALLED, "c": IN_DOUBT}
