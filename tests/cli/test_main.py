"""Entry point: both command lines list the commands."""

from __future__ import annotations

import pytest

from tests.cli.terminal import AIRFLOW, MODULE, Terminal

COMMANDS = ("rollback", "status", "send", "probe")


@pytest.mark.parametrize("program", [MODULE, AIRFLOW], ids=["module", "airflow"])
def test_help_lists_the_commands(terminal: Terminal, program: list[str]):
    done = terminal.run("--help", program=program)
    assert done.status == 0
    assert all(command in done.out for command in COMMANDS)
