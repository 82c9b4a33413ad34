"""Output of the commands: results alone on stdout, and no control characters."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from airflow_provider_dingtalk.cli.output import MAX_ROWS, format_table
from airflow_provider_dingtalk.sandbox.default import ROBOT_CODE
from tests.cli.fake_airflow import FakeAirflow
from tests.cli.terminal import AIRFLOW_TOKEN, Terminal

RUN = ("revenue", "r1")
LOGGED_IN = {"AIRFLOW_API_TOKEN": AIRFLOW_TOKEN}
NAUGHTY = "\x1b]0;pwn\x07\x9b31m\u202etxt"


def receipt(key: str) -> dict[str, Any]:
    return {"version": 1, "kind": "oto", "robot_code": ROBOT_CODE, "process_query_key": key}


def control_characters(text: str) -> list[str]:
    return [char for char in text if not char.isprintable() and char not in "\n\t"]


@pytest.mark.parametrize("as_json", [False, True])
def test_ids_of_airflow_do_not_steer_the_terminal(terminal: Terminal, airflow: FakeAirflow, as_json: bool):
    airflow.add_run(*RUN)
    airflow.push(*RUN, f"send{NAUGHTY}", "receipts_0", "s3://bucket/key")
    airflow.push(*RUN, f"other{NAUGHTY}", "return_value", [{**receipt(NAUGHTY), "version": 1}])
    options = ("--json",) if as_json else ()
    done = terminal.run("rollback", "--run", *RUN, "--yes", *options, "--airflow-url", airflow.url, env=LOGGED_IN)
    assert done.status == 4
    assert "pwn" in done.err
    assert control_characters(done.out) == control_characters(done.err) == []


@pytest.mark.parametrize("as_json", [False, True])
def test_a_state_of_dingtalk_s_does_not_steer_the_terminal(terminal: Terminal, as_json: bool):
    (key,) = terminal.create_messages("oto")
    answer = json.dumps({"sendStatus": NAUGHTY, "messageReadInfoList": []})
    terminal.sandbox.faults({"match": "robot/oToMessages/readStatus", "action": {"type": "body", "text": answer}})
    options = ("--json",) if as_json else ()
    arguments = ("--keys", key, "--kind", "oto", "--robot-code", ROBOT_CODE)
    done = terminal.run("status", *arguments, *options)
    assert done.status == 0
    assert "pwn" in done.out
    assert control_characters(done.out) == control_characters(done.err) == []
    if as_json:
        assert done.json["messages"][0]["send_status"] == NAUGHTY


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


def test_a_machine_gets_the_error_as_json(terminal: Terminal):
    done = terminal.run("rollback", "--keys", "k", "--json")
    assert done.status == 2
    assert done.json["error"]["type"] == "InvalidInputError"
    assert done.json["error"]["message"].startswith("--kind")


def test_a_table_is_aligned_and_capped():
    assert format_table(("key", "n"), [("long key", 1), ("k", 22)]).splitlines() == [
        "key       n",
        "long key  1",
        "k         22",
    ]
    lines = format_table(("key",), [("k",)] * (MAX_ROWS + 3)).splitlines()
    assert len(lines) == 1 + MAX_ROWS + 1
    assert lines[-1] == "… and 3 more; --json shows all."
