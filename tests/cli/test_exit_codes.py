"""Exit codes: missing connections, refused logins and dead addresses have their own."""

from __future__ import annotations

import json

import pytest

from airflow_provider_dingtalk import exceptions
from airflow_provider_dingtalk.cli.exit_codes import ExitCode, exit_code_of, exit_code_of_failures
from tests.cli.terminal import Terminal

SENDER = ("--kind", "oto")


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


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (exceptions.InvalidInputError("--keys", "is missing"), ExitCode.INPUT),
        (exceptions.ConfigurationError("no secret"), ExitCode.REFUSED),
        (exceptions.PermissionDeniedError("no"), ExitCode.REFUSED),
        (exceptions.AirflowRefusedError("no"), ExitCode.REFUSED),
        (exceptions.AirflowUnreachableError("no answer"), ExitCode.UNREACHABLE),
        (exceptions.ConnectionFailedError("no answer"), ExitCode.UNREACHABLE),
        (exceptions.DeclinedError("no"), ExitCode.DECLINED),
        (exceptions.BannedError("later"), ExitCode.LEFT),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_has_a_code(error: exceptions.DingTalkError, code: ExitCode):
    assert exit_code_of(error) is code


@pytest.mark.parametrize(
    ("failures", "code"),
    [
        ([], ExitCode.LEFT),
        (["not_sent", "not_sent"], ExitCode.UNREACHABLE),
        (["not_sent", "Forbidden.AccessDenied.AccessTokenPermissionDenied"], ExitCode.LEFT),
        (["Forbidden.AccessDenied.AccessTokenPermissionDenied"], ExitCode.REFUSED),
        (["processQueryKey.expireTime"], ExitCode.LEFT),
    ],
)
def test_failures_of_one_kind_have_its_code(failures: list[str], code: ExitCode):
    assert exit_code_of_failures(failures) is code
