"""``make demo KEEP=1``: a rollback, then addresses and a login that work, and nothing left after Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import httpx

from airflow_provider_dingtalk.cli.airflow_api import PASSWORD_VARIABLE, USER_VARIABLE, AirflowRest
from demo.__main__ import DAG_ID
from dev.processes import Process, stop_all

TIMEOUT = 180.0


def test_it_stays_until_ctrl_c(tmp_path: Path):
    process = Process("demo", [sys.executable, "-m", "demo", "--keep"], os.environ, tmp_path / "log")
    try:
        process.wait_for_output(r"(Ctrl-C ends)", TIMEOUT)
        printed = process.log.read_text()
        assert "report    recalled 51   failed 0   expired 0   unknown 0" in printed
        (airflow,) = re.findall(r"AIRFLOW_API_URL=(\S+)", printed)
        (password,) = re.findall(r"login +admin, password (\S+)", printed)
        (sandbox,) = re.findall(r"(http\S+)/_sandbox/", printed)
        counts = httpx.get(f"{sandbox}/_sandbox/truth", params={"brief": 1}, trust_env=False).json()["counts"]
        assert {count["visible"] for count in counts.values()} == {0}
        with AirflowRest(airflow) as rest:
            rest.log_in({USER_VARIABLE: "admin", PASSWORD_VARIABLE: password})
            assert [run.dag_id for run in rest.runs(None)] == [DAG_ID]
        assert f"{airflow}/dags/{DAG_ID}:" in printed
        os.kill(process.pid, signal.SIGINT)
        process.wait_for_output(r"(stopped)\n", TIMEOUT)
    finally:
        stop_all([process])
    assert not _answers(sandbox) and not _answers(airflow)


def _answers(url: str) -> bool:
    try:
        httpx.get(url, trust_env=False)
    except httpx.ConnectError:
        return False
    return True
