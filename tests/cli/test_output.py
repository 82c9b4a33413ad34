"""Output of the commands: results alone on stdout, and no control characters."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import termios
from contextlib import suppress
from typing import Any

import pytest
import yaml

from airflow_provider_dingtalk.cli.output import MAX_ROWS, Result, escape, format_table, print_error, print_result
from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.language import VARIABLE
from airflow_provider_dingtalk.sandbox.default import ROBOT_CODE
from tests.cli.fake_airflow import FakeAirflow
from tests.cli.terminal import AIRFLOW_TOKEN, MODULE, Terminal

RUN = ("revenue", "r1")
LOGGED_IN = {"AIRFLOW_API_TOKEN": AIRFLOW_TOKEN}
NAUGHTY = "\x1b]0;pwn\x07\x9b31m\u202etxt [red][link=x]b[/blink] :skull: \r\nforged"
#: Forms of a result: the text by default, and those of --output.
FORMS = [None, "json", "yaml", "table", "plain"]


def receipt(key: str) -> dict[str, Any]:
    return {"version": 1, "kind": "oto", "robot_code": ROBOT_CODE, "process_query_key": key}


def control_characters(text: str) -> list[str]:
    return [char for char in text if not char.isprintable() and char != "\n"]


def output(form: str | None) -> tuple[str, ...]:
    return ("--output", form) if form else ()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain 中文　·\u00a0é 😀", "plain 中文　·\u00a0é 😀"),
        ("\x1b[31m\x07\x9b", r"\x1b[31m\x07\x9b"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\u202e\u2066\u200b\u2028\ufeff", r"\u202e\u2066\u200b\u2028\ufeff"),
        ("\ud800\U000e0041", r"\ud800\U000e0041"),
    ],
)
def test_characters_that_steer_a_terminal_are_escaped(text: str, shown: str):
    assert escape(text) == shown
    assert escape("a\nb", keep="\n") == "a\nb"


@pytest.mark.parametrize("form", FORMS)
def test_no_cell_of_a_result_steers_the_terminal(capsys: pytest.CaptureFixture[str], form: str | None):
    rows = [(NAUGHTY, 7, None), ("k", 8, NAUGHTY)]
    header = ("key", "number", "reason")
    print_result(Result([NAUGHTY, {NAUGHTY: 7}], header, rows, format_table(header, rows)), form)
    printed = capsys.readouterr().out
    assert control_characters(printed) == []
    assert printed.endswith("\n") and not printed.endswith("\n\n")
    if form in ("json", "yaml"):
        assert yaml.safe_load(printed) == [NAUGHTY, {NAUGHTY: 7}]
    else:
        assert not [line for line in printed.splitlines() if line.startswith("forged")]
        assert printed.count(escape(NAUGHTY)) == 2


@pytest.mark.parametrize("form", ["table", "plain"])
def test_a_long_cell_is_whole(capsys: pytest.CaptureFixture[str], form: str):
    print_result(Result([], ("key", "reason"), [("k", "long " * 80)]), form)
    assert capsys.readouterr().out.count("long") == 80


@pytest.mark.parametrize("form", FORMS)
def test_an_error_is_one_line_and_for_machines_a_document(capsys: pytest.CaptureFixture[str], form: str | None):
    print_error(InvalidInputError("--run", NAUGHTY), form)
    out, err = capsys.readouterr()
    assert control_characters(out) == control_characters(err) == []
    assert err.count("\n") == 1 and r"\r\nforged" in err
    assert (yaml.safe_load(out)["error"]["message"] == f"--run: {NAUGHTY}") if form in ("json", "yaml") else out == ""


@pytest.mark.parametrize("form", FORMS)
def test_a_file_name_that_is_no_text_is_shown_as_escapes(capsys: pytest.CaptureFixture[str], form: str | None):
    print_error(InvalidInputError("--out", "\udcff: is there already"), form)
    out, err = capsys.readouterr()
    assert r"\udcff: is there" in err
    assert bool(out) == (form in ("json", "yaml"))
    assert not out or ": is there already" in yaml.safe_load(out)["error"]["message"]


@pytest.mark.parametrize(("form", "printed"), [("table", "No data found\n"), ("plain", "key\n")])
def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str], form: str, printed: str):
    print_result(Result([], ("key",)), form)
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize("form", ["table", "plain"])
def test_a_key_that_looks_like_a_number_stays_as_it_is(capsys: pytest.CaptureFixture[str], form: str):
    keys = ["1e5", "1234567890123", "007", "nan", "1_000"] * MAX_ROWS
    print_result(Result([], ("key",), [(key,) for key in keys]), form)
    assert [key for line in capsys.readouterr().out.splitlines() if (key := line.strip()) in keys] == keys


@pytest.mark.parametrize("form", [None, "json", "plain"])
def test_ids_of_airflow_do_not_steer_the_terminal(terminal: Terminal, airflow: FakeAirflow, form: str | None):
    airflow.add_run(*RUN)
    airflow.push(*RUN, f"send{NAUGHTY}", "receipts_0", "s3://bucket/key")
    airflow.push(*RUN, f"other{NAUGHTY}", "return_value", [{**receipt(NAUGHTY), "version": 1}])
    airflow.push(*RUN, "third", f"return_value{NAUGHTY}", NAUGHTY)
    airflow.note(RUN[0], (NAUGHTY, NAUGHTY, NAUGHTY), recalled=NAUGHTY)
    arguments = ("--run", *RUN, "--yes", *output(form), "--airflow-url", airflow.url)
    done = terminal.run("rollback", *arguments, env=LOGGED_IN)
    assert done.status == 4
    assert "pwn" in done.err
    assert control_characters(done.out) == control_characters(done.err) == []


@pytest.mark.parametrize("form", FORMS)
def test_a_state_of_dingtalk_s_does_not_steer_the_terminal(terminal: Terminal, form: str | None):
    (key,) = terminal.create_messages("oto")
    answer = json.dumps({"sendStatus": NAUGHTY, "messageReadInfoList": []})
    terminal.sandbox.faults({"match": "robot/oToMessages/readStatus", "action": {"type": "body", "text": answer}})
    done = terminal.run("status", "--keys", key, "--kind", "oto", "--robot-code", ROBOT_CODE, *output(form))
    assert done.status == 0
    assert "pwn" in done.out and key in done.out
    assert control_characters(done.out) == control_characters(done.err) == []
    if form in ("json", "yaml"):
        assert yaml.safe_load(done.out)["messages"][0]["send_status"] == NAUGHTY


@pytest.mark.parametrize("form", [None, "table", "yaml"])
def test_a_refusal_of_dingtalk_s_does_not_steer_the_terminal(terminal: Terminal, form: str | None):
    keys = terminal.create_messages("oto", 2)
    refusal = {"type": "body", "status": 400, "text": json.dumps({"code": NAUGHTY, "message": NAUGHTY})}
    terminal.sandbox.faults(*({"match": api, "action": refusal} for api in ("otoMessages/batchRecall", "readStatus")))
    arguments = ("--keys", ",".join(keys), "--kind", "oto", "--robot-code", ROBOT_CODE)
    for command in (("rollback", *arguments, "--yes"), ("check",)):
        done = terminal.run(*command, *output(form))
        assert done.status != 0
        assert "pwn" in done.out
        assert control_characters(done.out) == control_characters(done.err) == []


def test_a_closed_pipe_does_not_change_the_exit_code(terminal: Terminal):
    keys = terminal.create_messages("oto", 100)
    read, write = os.pipe()
    os.close(read)
    running = terminal.start(
        "rollback", "--keys", ",".join(keys), "--kind", "oto", "--yes", stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 0, said
    assert b"Traceback" not in said
    assert terminal.gone() == set(keys)


def test_a_recall_goes_on_when_nobody_reads_what_it_says(terminal: Terminal):
    """As with "2>&1 | head -1"."""
    keys = terminal.create_messages("oto", 100)
    read, write = os.pipe()
    os.close(read)
    arguments = ("--keys", ",".join(keys), "--kind", "oto", "--robot-code", ROBOT_CODE, "--yes")
    running = terminal.start("rollback", *arguments, stdout=write, stderr=write)
    os.close(write)
    assert running.wait(timeout=60) == 0
    assert terminal.gone() == set(keys)


@pytest.mark.parametrize(
    ("redirection", "status", "said"),
    [
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        (">&- 2>&-", 0, ""),
        ("> /dev/full", 1, "DingTalkError: stdout: No space left on device."),
    ],
)
@pytest.mark.parametrize("form", [None, "json"])
def test_a_result_that_nobody_can_read_shows_no_traceback(
    terminal: Terminal, redirection: str, status: int, said: str, form: str | None
):
    (key,) = terminal.create_messages("oto")
    program = ["sh", "-c", f'exec "$@" {redirection}', "sh", *MODULE]
    done = terminal.run("rollback", "--keys", key, "--kind", "oto", "--yes", *output(form), program=program)
    assert (done.status, terminal.gone()) == (status, {key})
    assert said in done.err
    if redirection == "2>&-" and form:
        assert done.json["recalled"] == [key]


@pytest.mark.parametrize("columns", [40, 0], ids=["narrow", "unknown width"])
def test_a_table_fits_the_terminal(terminal: Terminal, columns: int):
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, columns))
    running = terminal.start("check", "-o", "table", stdout=slave, stderr=subprocess.DEVNULL)
    os.close(slave)
    printed = b""
    with suppress(OSError):  # Linux: the other side is closed.
        while more := os.read(master, 65_536):
            printed += more
    os.close(master)
    assert running.wait(timeout=60) == 0
    assert printed.count(b"permitted") == 3
    assert b"\x1b" not in printed
    assert max(map(len, printed.decode().splitlines())) <= (columns or 200)


def test_a_machine_gets_the_error_as_json(terminal: Terminal):
    done = terminal.run("rollback", "--keys", "k", "--json")
    assert done.status == 2
    assert done.json["error"]["type"] == "InvalidInputError"
    assert done.json["error"]["message"].startswith("--kind")


def test_a_table_is_aligned_and_capped(english: None):
    assert format_table(("key", "n"), [("long key", 1), ("k", 22)]).splitlines() == [
        "key       n",
        "long key  1",
        "k         22",
    ]
    lines = format_table(("key",), [("k",)] * (MAX_ROWS + 3)).splitlines()
    assert len(lines) == 1 + MAX_ROWS + 1
    assert lines[-1] == "… and 3 more; --json shows all."


def test_a_table_is_aligned_with_chinese_texts_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(VARIABLE, "zh")
    assert format_table(("key", "n"), [("长的消息", 1), ("k", 22)]).splitlines() == [
        "消息 ID   n",
        "长的消息  1",
        "k         22",
    ]
    assert format_table(("key",), [("k",)] * (MAX_ROWS + 3)).endswith("\n……另有 3 行；--json 显示全部。")


@pytest.mark.parametrize(("option", "is_told"), [("en", (True, False)), ("zh", (False, True)), ("both", (True, True))])
def test_an_error_is_told_in_the_language_of_the_option_and_machines_get_both(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str, is_told: tuple[bool, bool]
):
    monkeypatch.setenv(VARIABLE, option)
    error = InvalidInputError("--keys", "holds no key", "没有消息 ID")
    print_error(error, "json")
    out, err = capsys.readouterr()
    assert ("--keys: holds no key" in err, "--keys：没有消息 ID" in err) == is_told
    fields = json.loads(out)["error"]
    assert (fields["message"], fields["message_zh"]) == ("--keys: holds no key", "--keys：没有消息 ID")
