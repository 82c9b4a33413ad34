"""Command line of the sandbox."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import httpx
import pytest

from airflow_provider_dingtalk.sandbox.__main__ import main


def _command(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "airflow_provider_dingtalk.sandbox", "--port", "0", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_line(number: signal.Signals) -> None:
    with _command("--calls-per-second", "7", "--behaviour", "unfit_keys=per_key", "--seed", "1") as process:
        assert process.stdout is not None and process.stderr is not None
        match = re.fullmatch(r"listening on (http://127\.0\.0\.1:\d+)\n", process.stdout.readline())
        assert match
        behaviour = httpx.get(f"{match[1]}/_sandbox/behaviour", trust_env=False).json()
        process.send_signal(number)
        rest, errors = process.stdout.read(), process.stderr.read()
    assert (behaviour["calls_per_second"], behaviour["unfit_keys"]) == (7, "per_key")
    assert f'"host":"{match[1]}"' in rest and "AIRFLOW_CONN_DINGTALK_DEFAULT" in rest
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--host", "0.0.0.0"], "--expose"),
        (["--behaviour", "mood=good"], "mood"),
        (["--behaviour", "unfit_keys=maybe"], "maybe"),
    ],
)
def test_command_line_refuses(capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert complaint in capsys.readouterr().err
