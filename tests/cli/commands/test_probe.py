"""``probe`` as a process, and a sandbox started with the file that it wrote."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from airflow_provider_dingtalk.probe.observed import Question
from airflow_provider_dingtalk.sandbox.default import CLIENT_SECRET, GROUPS, ROBOT_CODE
from airflow_provider_dingtalk.sandbox.testing import connection_to
from tests.cli.terminal import MODULE, Terminal

TARGET = ("--group", GROUPS[0], "--user", "user001")
UNATTENDED = ("--yes", "--reading-seconds", "0")
SWITCHES = {
    "already_recalled": "failed",
    "already_recalled_reason": "gone.already",
    "unfit_keys": "per_key",
    "max_keys": 21,
    "dead_token_status": 401,
    "duplicate_keys": "twice",
}


def test_a_sandbox_started_with_its_file_behaves_as_what_it_saw(terminal: Terminal, tmp_path: Path):
    terminal.sandbox.state.behaviour = terminal.sandbox.state.behaviour.changed(SWITCHES)
    file = tmp_path / "observed.json"
    done = terminal.run("probe", *TARGET, *UNATTENDED, "--out", str(file), "--json")
    assert done.status == 0
    assert json.loads(file.read_text()) == done.json
    assert set(done.json["seen"]) == set(Question)
    assert len(terminal.gone()) == len(terminal.sandbox.state.messages) == 3
    for name in (GROUPS[0], "user001", ROBOT_CODE, CLIENT_SECRET, *terminal.gone()):
        assert name not in file.read_text()

    command = [sys.executable, "-m", "airflow_provider_dingtalk.sandbox", "--port", "0", "--observed", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=terminal.environment()) as sandbox:
        assert sandbox.stdout
        url = re.search(r"http://\S+", sandbox.stdout.readline())
        assert url
        behaviour = httpx.get(f"{url[0]}/_sandbox/behaviour", trust_env=False).json()
        sandbox.terminate()
    assert {name: behaviour[name] for name in SWITCHES} == SWITCHES


@pytest.mark.parametrize("text", ["", "[]", '{"version": 1}'])
def test_a_sandbox_refuses_a_file_that_is_none(tmp_path: Path, text: str):
    file = tmp_path / "observed.json"
    file.write_text(text)
    command = [sys.executable, "-m", "airflow_provider_dingtalk.sandbox", "--port", "0", "--observed", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_dingtalk_that_is_not_there_is_told_as_such(terminal: Terminal, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    connection = json.dumps(connection_to(url))
    file = tmp_path / "observed.json"
    env = {"AIRFLOW_CONN_DINGTALK_DEFAULT": connection}
    done = terminal.run("probe", *TARGET, *UNATTENDED, "--out", str(file), env=env)
    assert done.status == 4
    assert "no connection" in done.err
    assert not file.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (TARGET, "--yes"),
        ((*TARGET, "--yes"), "--reading-seconds"),
        ((*TARGET, "--yes", "--reading-seconds", "-1"), "must be from 0"),
        ((*TARGET, *UNATTENDED, "--out", "/nowhere/at/all.json"), "its folder is not there"),
        ((*TARGET, *UNATTENDED, "--out", __file__), "is there already"),
        (("--group", " ", "--user", "u", *UNATTENDED), "is blank"),
        (("--group", "g"), "required"),
    ],
)
def test_wrong_use_calls_nobody(terminal: Terminal, arguments: tuple[str, ...], said: str):
    done = terminal.run("probe", *arguments)
    assert done.status == 2
    assert said in done.err
    assert terminal.calls() == 0


def ask(terminal: Terminal, tmp_path: Path, typed: str, language: str = "") -> tuple[int, bytes]:
    master, slave = pty.openpty()
    running = subprocess.Popen(
        [*MODULE, "probe", *TARGET, "--out", str(tmp_path / "observed.json")],
        env=terminal.environment({"AIRFLOW__DINGTALK__LANGUAGE": language or None}),
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.close(slave)
    os.write(master, typed.encode())
    _, said = running.communicate(timeout=60)
    os.close(master)
    return running.returncode, said


@pytest.mark.parametrize("typed", ["y\n", "no\n", "\n"])
def test_it_begins_after_an_explicit_yes_only(terminal: Terminal, tmp_path: Path, typed: str):
    status, said = ask(terminal, tmp_path, typed)
    assert status == 5
    assert b"Type yes to begin" in said
    assert terminal.calls() == 0


def test_it_asks_in_the_language_of_the_option(terminal: Terminal, tmp_path: Path):
    status, said = ask(terminal, tmp_path, "no\n", "zh")
    assert status == 5
    assert "输入 yes 开始" in said.decode() and "Type yes" not in said.decode()


def test_on_a_terminal_it_waits_for_the_reader(terminal: Terminal, tmp_path: Path):
    status, said = ask(terminal, tmp_path, "yes\n\n")
    assert status == 0
    assert b"then press Enter" in said
    assert (tmp_path / "observed.json").exists()


def test_a_refused_app_ends_it_before_anything_is_sent(terminal: Terminal, tmp_path: Path):
    wrong = terminal.sandbox.connection() | {"password": "not-the-secret"}
    arguments = (*TARGET, *UNATTENDED, "--out", str(tmp_path / "observed.json"))
    done = terminal.run("probe", *arguments, env={"AIRFLOW_CONN_DINGTALK_DEFAULT": json.dumps(wrong)})
    assert done.status == 3
    assert terminal.sandbox.state.messages == {}
    assert not (tmp_path / "observed.json").exists()


def test_an_ended_probe_takes_back_what_it_sent(terminal: Terminal, tmp_path: Path):
    action = {"type": "status", "status": 400, "code": "chatbotId.notAllow.sendOTO"}
    terminal.sandbox.faults({"match": "oToMessages/batchSend", "action": action})
    done = terminal.run("probe", *TARGET, *UNATTENDED, "--out", str(tmp_path / "observed.json"))
    assert done.status == 1
    assert len(terminal.gone()) == len(terminal.sandbox.state.messages) == 2


def test_the_answers_are_printed_even_if_the_file_cannot_be_written(terminal: Terminal, tmp_path: Path):
    done = terminal.run("probe", *TARGET, *UNATTENDED, "--out", str(tmp_path / ("x" * 300)))
    assert done.status == 2
    assert "cannot be written" in done.err
    assert "dead_token" in done.out
