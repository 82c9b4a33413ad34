"""Commands and options: help with examples, and wrong use reported before any call."""

from __future__ import annotations

import pytest

from tests.cli.terminal import Terminal

COMMANDS = ("rollback", "status", "send", "probe")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_examples_and_exit_statuses(terminal: Terminal, command: str):
    done = terminal.run(command, "--help")
    assert done.status == 0
    assert f"python -m airflow_provider_dingtalk {command} --" in done.out
    assert "  130  interrupted" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rollback", "--keys", "k", "--kind", "letter"], "invalid choice"),
        (["rollback", "--run", "dag"], "expected 2 arguments"),
        (["check", "--output", "xml"], "invalid choice"),
        (["rollback", "--key", "k", "--kind", "oto"], "unrecognized arguments"),
        (["recall"], "invalid choice"),
        ([], "required"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_calls_no_api(terminal: Terminal, arguments: list[str], said: str):
    done = terminal.run(*arguments)
    assert done.status == 2
    assert said in done.err
    assert done.out == ""
    assert terminal.calls() == 0
