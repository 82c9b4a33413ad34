"""Entry point: both command lines list the commands."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from airflow_provider_dingtalk import __version__
from airflow_provider_dingtalk.cli.arguments import Command
from airflow_provider_dingtalk.cli.main import run
from tests.cli.terminal import PROGRAMS, Terminal

COMMANDS = ("rollback", "status", "send", "probe")


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_help_lists_the_commands(terminal: Terminal, program: list[str]):
    done = terminal.run("--help", program=program)
    assert done.status == 0
    assert all(command in done.out for command in COMMANDS)


def test_the_version_is_that_of_the_package(terminal: Terminal):
    assert terminal.run("--version").out == f"airflow-provider-dingtalk {__version__}\n"


def test_a_mistake_in_a_command_shows_its_place_and_no_secret(capfd: pytest.CaptureFixture[str]):
    """An option that is missing stands for any mistake."""
    command = Command("status", "", "", (), ())
    assert run(command, Namespace(output="json", json=False, run="secret-of-a-mistake")) == 1
    out, err = capfd.readouterr()
    assert json.loads(out)["error"]["code"] == "unexpected"
    assert "Unexpected AttributeError in message_selection.py, line " in err
    assert "Traceback" not in err and "secret-of-a-mistake" not in out + err


@pytest.mark.parametrize("module", ["argparse", "msgspec"])
def test_an_interruption_while_modules_are_imported_shows_no_traceback(terminal: Terminal, tmp_path: Path, module: str):
    (tmp_path / f"{module}.py").write_text("raise KeyboardInterrupt\n")
    done = terminal.run("check", env={"PYTHONPATH": str(tmp_path)})
    assert (done.status, done.out) == (130, "")
