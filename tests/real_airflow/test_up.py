"""``make up``: addresses and a login that work, and nothing left after Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import httpx

from airflow_provider_dingtalk.cli.airflow_api import PASSWORD_VARIABLE, USER_VARIABLE, AirflowRest
from dev.processes import Process, free_port, stop_all

TIMEOUT = 180.0


def test_it_prints_a_login_and_ends_all_on_ctrl_c(tmp_path: Path):
    ports = ("--airflow-port", str(free_port()), "--sandbox-port", str(free_port()))
    process = Process("up", [sys.executable, "-m", "dev.up", *ports], os.environ, tmp_path / "log")
    try:
        process.wait_for_output(r"(Ctrl-C ends)", TIMEOUT)
        printed = process.log.read_text()
        (airflow,) = re.findall(r"AIRFLOW_API_URL=(\S+)", printed)
        (password,) = re.findall(r"login +admin, password (\S+)", printed)
        (sandbox,) = re.findall(r"(http\S+)/_sandbox/", printed)
        assert httpx.get(f"{sandbox}/_sandbox/", trust_env=False).status_code == 200
        assert httpx.get(f"{airflow}/auth/token", trust_env=False).status_code != 201
        with AirflowRest(airflow) as rest:
            rest.log_in({USER_VARIABLE: "admin", PASSWORD_VARIABLE: password})
            # Refused without a valid login. Example DAGs with a schedule may have begun a run.
            assert all(run.dag_id.startswith("dingtalk_") for run in rest.runs(None))
        os.kill(process.pid, signal.SIGINT)
        process.wait_for_output(r"(stopped)\n", TIMEOUT)
        for url in (airflow, sandbox):
            with httpx.Client(trust_env=False) as client:
                assert _is_refused(client, url)
    finally:
        stop_all([process])


def _is_refused(client: httpx.Client, url: str) -> bool:
    try:
        client.get(url)
    except httpx.ConnectError:
        return True
    return False
