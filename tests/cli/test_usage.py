"""Help, wrong use and missing connections: reported before any call, each with its exit status."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.cli.terminal import AIRFLOW, MODULE, Terminal

COMMANDS = ("rollback", "status", "send", "probe")
SENDER = ("--kind", "oto")


@pytest.mark.parametrize("program", [MODULE, AIRFLOW], ids=["module", "airflow"])
def test_help_lists_the_commands(terminal: Terminal, program: list[str]):
    done = terminal.run("--help", program=program)
    assert done.status == 0
    assert all(command in done.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_examples_and_exit_statuses(terminal: Terminal, command: str):
    done = terminal.run(command, "--help")
    assert done.status == 0
    assert f"python -m airflow_provider_dingtalk {command} --" in done.out
    assert "  130  interrupted" in done.out


def test_help_of_airflows_own_command_line_names_that(terminal: Terminal):
    done = terminal.run("rollback", "--help", program=AIRFLOW)
    assert done.status == 0
    assert "airflow dingtalk rollback --since 2h" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rollback"], "exactly one"),
        (["rollback", "--keys", "k", "--since", "2h", *SENDER], "exactly one"),
        (["rollback", "--keys", "k"], "--kind"),
        (["rollback", "--keys", "keys.txt", *SENDER], "no file"),
        (["rollback", "--keys", "one two", *SENDER], "is not a key"),
        (["rollback", "--keys", "", *SENDER], "exactly one"),
        (["rollback", "--keys", ",", *SENDER], "holds no key"),
        (["rollback", "--keys", "[not json", *SENDER], "is not valid JSON"),
        (["rollback", "--keys", '[{"kind": "oto"}]'], "is missing"),
        (
            ["rollback", "--keys", '[{"kind": "oto", "robot_code": "r", "process_query_key": "k"}, 7]'],
            "must be a receipt",
        ),
        (["rollback", "--keys", "k", "--kind", "group"], "open_conversation_id"),
        (["rollback", "--keys", "k", "--kind", "work_notification"], "must be a number"),
        (["rollback", "--keys", "k", "--kind", "letter"], "invalid choice"),
        (["rollback", "--keys", "k", "--task", "t", "--kind", "oto"], "does not go with --keys"),
        (["rollback", "--since", "2h", "--kind", "oto"], "does not go with --since"),
        (["rollback", "--since", "yesterday"], "is no time"),
        (["rollback", "--since", "2099-01-01T00:00"], "is yet to come"),
        (["rollback", "--run", "dag"], "expected 2 arguments"),
        (["rollback", "--run", "d", "r", "--airflow-url", "ftp://x"], "no http or https address"),
        (["rollback", "--run", "d", "r", "--airflow-url", "http://me:word@x"], "holds a login"),
        (["rollback", "--key", "k", *SENDER], "unrecognized arguments"),
        (["send", "--group", "cidgroup1"], "exactly one"),
        (["send", "--text", "x"], "at least one"),
        (["send", "--group", "cidgroup1", "--text", "x", "--markdown", "y"], "exactly one"),
        (["send", "--group", "cidgroup1", "--text", "x", "--title", "y"], "--markdown only"),
        (["status"], "exactly one"),
        (["recall"], "invalid choice"),
        ([], "required"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_calls_nobody(terminal: Terminal, arguments: list[str], said: str):
    asks = arguments[:1] == ["rollback"] and "--yes" not in arguments
    done = terminal.run(*arguments, *(["--yes"] if asks else []))
    assert done.status == 2
    assert said in done.err
    assert done.out == ""
    assert terminal.calls() == 0


def test_a_machine_gets_the_error_as_json(terminal: Terminal):
    done = terminal.run("rollback", "--keys", "k", "--json")
    assert done.status == 2
    assert done.json["error"]["type"] == "InvalidInputError"
    assert done.json["error"]["message"].startswith("--kind")


def test_without_a_terminal_a_rollback_needs_a_yes(terminal: Terminal):
    keys = terminal.create_messages("oto")
    done = terminal.run("rollback", "--keys", keys[0], *SENDER)
    assert done.status == 2
    assert "--yes" in done.err
    assert terminal.calls() == 0


@pytest.mark.parametrize("command", [["rollback", "--yes"], ["status"]], ids=lambda words: words[0])
def test_without_a_connection_nothing_begins(terminal: Terminal, command: list[str]):
    done = terminal.run(*command, "--keys", "k", *SENDER, env={"AIRFLOW_CONN_DINGTALK_DEFAULT": None})
    assert done.status == 3
    assert "ConfigurationError" in done.err and "dingtalk_default" in done.err


@pytest.mark.parametrize(
    "command",
    [
        ["rollback", "--yes", "--keys", "k", *SENDER],
        ["status", "--keys", "k", *SENDER],
        ["send", "--user", "user001", "--text", "x"],
    ],
    ids=lambda words: words[0],
)
def test_refused_credentials_and_a_dead_line_have_statuses_of_their_own(terminal: Terminal, command: list[str]):
    wrong = terminal.sandbox.connection() | {"password": "not-the-secret-4711"}
    done = terminal.run(*command, env={"AIRFLOW_CONN_DINGTALK_DEFAULT": json.dumps(wrong)})
    assert done.status == 3
    assert "not-the-secret-4711" not in done.out + done.err
    nowhere = terminal.sandbox.connection() | {"host": "http://127.0.0.1:9"}
    assert terminal.run(*command, env={"AIRFLOW_CONN_DINGTALK_DEFAULT": json.dumps(nowhere)}).status == 4


def test_airflow_loads_nothing_heavy_for_them():
    """Airflow imports the definition at each start of its command line, also of a scheduler's."""
    code = "import sys, airflow_provider_dingtalk.cli.definition; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"airflow", "httpx", "msgspec", "pendulum", "anyio", "argparse"}
