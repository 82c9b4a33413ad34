"""Selection of messages: what the options select, and wrong use, which is refused before any call."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airflow_provider_dingtalk.cli.main import make_parser
from airflow_provider_dingtalk.cli.message_selection import Selection, parse_since
from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.messages.receipt import Receipt
from tests.cli.terminal import Terminal

SENDER = ("--kind", "oto", "--robot-code", "r")
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
RECEIPT = {"kind": "oto", "robot_code": "r", "process_query_key": "k1"}


def select(*arguments: str) -> list[Receipt]:
    options = make_parser().parse_args(["rollback", *arguments])
    return Selection(options, NOW).receipts(DingTalkHook(options.conn_id))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "exactly one"),
        (["--keys", "k", "--since", "2h", *SENDER], "exactly one"),
        (["--keys", "k"], "--kind"),
        (["--keys", "keys.txt", *SENDER], "no file"),
        (["--keys", "one two", *SENDER], "is not a key"),
        (["--keys", "", *SENDER], "exactly one"),
        (["--keys", ",", *SENDER], "holds no key"),
        (["--keys", "[not json", *SENDER], "is not valid JSON"),
        (["--keys", "[" * 100_000, *SENDER], "is not valid JSON"),
        (["--keys", '[{"kind": "oto"}]'], "is missing"),
        (["--keys", json.dumps([RECEIPT, 7])], "must be a receipt"),
        (["--keys", "k", "--kind", "group", "--robot-code", "r"], "open_conversation_id"),
        (["--keys", "k", "--kind", "work_notification", "--agent-id", "1"], "must be a number"),
        (["--keys", "k", "--task", "t", *SENDER], "does not go with --keys"),
        (["--since", "2h", "--kind", "oto"], "does not go with --since"),
        (["--run", "d", "r", "--dag", "d"], "does not go with --run"),
        (["--since", "yesterday"], "is no time"),
        (["--since", "999999d"], "is no time"),
        (["--since", "0001-01-02"], "is no time"),
        (["--since", "2h", "--dag", ""], "is not an id"),
        (["--since", "2h", "--dag", "d", "~"], "is not an id"),
        (["--since", "2h", "--task", ""], "is not an id"),
        (["--run", "d", ""], "is not an id"),
        (["--keys", "/", *SENDER], "cannot be read"),
        (["--keys", "k", "--kind", "oto", "--robot-code", ""], "robot_code: is blank"),
        (["--since", "2099-01-01T00:00"], "is yet to come"),
        (["--run", "d", "r", "--airflow-url", "ftp://x"], "no http or https address"),
        (["--run", "d", "r", "--airflow-url", "http://me:word@x"], "holds a login"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_wrong_use_is_refused(arguments: list[str], problem: str):
    with pytest.raises(InvalidInputError) as caught:
        select(*arguments)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "keys",
    [
        "k1,k2",
        "k1\nk2\n\n",
        " k1 , k2 ",
        '["k1", "k2"]',
        json.dumps([RECEIPT, {**RECEIPT, "process_query_key": "k2"}]),
        json.dumps({"receipts": [RECEIPT, {**RECEIPT, "process_query_key": "k2"}]}),
    ],
)
@pytest.mark.parametrize("in_file", [False, True], ids=["argument", "file"])
def test_keys_and_receipts_are_read_in_each_form(tmp_path: Path, keys: str, in_file: bool):
    if in_file:
        (tmp_path / "keys").write_text(keys, encoding="utf-8")
        keys = str(tmp_path / "keys")
    sender = SENDER if "robot_code" not in keys and not in_file else ("--kind", "oto", "--robot-code", "r")
    receipts = select("--keys", keys, *sender)
    assert [(receipt.kind, receipt.robot_code, receipt.key) for receipt in receipts] == [
        ("oto", "r", "k1"),
        ("oto", "r", "k2"),
    ]


def test_keys_are_read_from_a_pipe_and_from_a_file_of_windows(tmp_path: Path):
    (tmp_path / "keys").write_text("k1\r\nk2\r\n", encoding="utf-8-sig")
    reader, writer = os.pipe()
    os.write(writer, b"k1\nk2\n")
    os.close(writer)
    for keys in (str(tmp_path / "keys"), f"/dev/fd/{reader}"):
        assert [receipt.key for receipt in select("--keys", keys, *SENDER)] == ["k1", "k2"]
    os.close(reader)


@pytest.mark.parametrize("command", [("status", *SENDER, "--keys"), ("send", "--group", "cid", "--text")])
def test_what_is_no_text_on_stdin_is_refused(terminal: Terminal, command: tuple[str, ...]):
    strict = replace(terminal, env={"PYTHONIOENCODING": "utf-8:strict"})
    running = strict.start(*command, "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, said = running.communicate(b"\xff\xfe", timeout=60)
    assert (running.returncode, out, terminal.calls()) == (2, b"", 0)
    assert b"stdin cannot be read" in said and b"Traceback" not in said


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("90m", "2026-11-21T10:30:00+00:00"),
        ("2h", "2026-11-21T10:00:00+00:00"),
        ("1d", "2026-11-20T12:00:00+00:00"),
        ("09:30", "2026-11-21T09:30:00+00:00"),
        ("2026-11-21T09:30", "2026-11-21T09:30:00+00:00"),
        ("2026-11-21T09:30+08:00", "2026-11-21T01:30:00+00:00"),
    ],
)
def test_times_in_the_past_are_parsed(text: str, since: str):
    assert parse_since(text, NOW).isoformat() == since


@pytest.mark.parametrize("command", [["status"], ["rollback", "--yes"]], ids=lambda words: words[0])
def test_a_command_without_a_selection_calls_no_api(terminal: Terminal, command: list[str]):
    done = terminal.run(*command)
    assert (done.status, done.out, terminal.calls()) == (2, "", 0)
    assert "exactly one" in done.err
