"""``rollback --run`` and ``--since`` in a real Airflow, for failed and mapped sends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.real_airflow.fixtures import VERSION, DagRun, Environment, keys_of_receipt, wait_until
from tests.real_airflow.vault import SECRET

MODULE = [sys.executable, "-m", "airflow_provider_dingtalk"]
#: Airflow 3.1 has no commands of providers, so tests use ``python -m`` there.
AIRFLOW = [str(Path(sys.executable).with_name("airflow")), "dingtalk"] if VERSION >= (3, 2) else MODULE


class Shell:
    """Shell of an on-call engineer: a connection to DingTalk, the URL of Airflow, no database."""

    def __init__(self, environment: Environment, home: Path) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        self._env = {
            **inherited,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW_API_URL": environment.stack.url,
            "AIRFLOW_CONN_DINGTALK_DEFAULT": json.dumps(
                environment.dingtalk.server.connection() | {"password": SECRET}
            ),
        }
        self._dingtalk = environment.dingtalk

    def run(self, *arguments: str, program: list[str] = MODULE) -> tuple[int, Any]:
        """Run a command and return its exit status and its JSON output."""
        done = subprocess.run(
            [*program, *arguments, "--json"],
            env=self._env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        for secret in self._dingtalk.server.state.secrets():
            assert secret not in done.stdout + done.stderr
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


@pytest.fixture
def shell(environment: Environment, tmp_path: Path) -> Shell:
    return Shell(environment, tmp_path / "home")


def keys_sent(run: DagRun, task_id: str, *indexes: int) -> set[str]:
    found = [run.xcom(task_id, map_index=index) for index in indexes or (-1,)]
    return {keys_of_receipt(receipt) for receipts in found for receipt in receipts or []}


class Refused:
    """Two runs side by side whose own rollbacks fail because of DingTalk, and a time between their sends."""

    def __init__(self, environment: Environment) -> None:
        refusal = {"type": "status", "status": 500, "code": "system.error"}
        environment.dingtalk.server.faults(
            {"match": "groupMessages/recall", "action": refusal}, {"match": "groupMessages/query", "action": refusal}
        )
        groups = ["cidgroup1", "cidnowhere", "cidgroup3"]
        self.half = environment.trigger("real_mapped_sends", conversations=groups)
        wait_until("all is sent", lambda: self.half.states().get("by_task") not in (None, "scheduled", "queued"))
        self.since = datetime.now(UTC).isoformat()
        self.whole = environment.trigger("real_mapped_sends", conversations=["cidgroup2"])
        self.half.wait()
        self.whole.wait()
        environment.dingtalk.server.faults()


@pytest.fixture(scope="module")
def refused(environment: Environment) -> Refused:
    environment.dingtalk.empty()
    return Refused(environment)


def test_what_a_half_failed_mapped_send_sent_is_taken_back_by_hand(
    refused: Refused, environment: Environment, shell: Shell
):
    # The on-call engineer repeats the rollback that failed.
    run = refused.half
    assert run.states()["by_task"] == "failed"
    keys = keys_sent(run, "send", 0, 2)
    assert len(keys) == 2
    assert environment.dingtalk.gone([*keys]) == set()

    status, plan = shell.run("rollback", "--run", run.dag_id, run.run_id, "--task", "send", "--dry-run")
    assert status == 0
    assert {keys_of_receipt(receipt) for receipt in plan["receipts"]} == keys
    assert environment.dingtalk.gone([*keys]) == set()

    # send_to_people was recalled in the run; its reports say so, so no call is repeated.
    before = environment.dingtalk.calls()
    status, report = shell.run("rollback", "--run", run.dag_id, run.run_id, "--yes", program=AIRFLOW)
    assert status == 0
    assert set(report["recalled"]) == keys == environment.dingtalk.gone([*keys])
    assert environment.dingtalk.calls().get("robot/otoMessages/batchRecall") == before["robot/otoMessages/batchRecall"]


def test_a_send_that_stopped_half_way_and_the_window_since(refused: Refused, environment: Environment, shell: Shell):
    run = refused.whole
    keys = keys_sent(run, "send", 0)
    assert environment.dingtalk.gone([*keys]) == set()
    arguments = ("--since", refused.since, "--dag", run.dag_id, "--task", "send")
    status, states = shell.run("status", *arguments)
    assert status == 0
    assert {state["key"] for state in states["messages"]} == keys
    status, report = shell.run("rollback", *arguments, "--yes")
    assert status == 0
    assert set(report["recalled"]) == keys
    # Only messages since that time, and none twice.
    assert environment.dingtalk.gone([*keys]) == keys


@pytest.mark.parametrize(
    "arguments",
    [
        ("--run", "real_mapped_sends", "no-such-run"),
        ("--run", "no_such_dag", "no-such-run"),
        ("--since", "1h", "--dag", "no_such_dag"),
    ],
)
def test_what_airflow_does_not_know_is_bad_input(shell: Shell, arguments: tuple[str, ...]):
    status, answer = shell.run("rollback", *arguments, "--yes")
    assert status == 2
    assert answer["error"]["type"] == "InvalidInputError"


def test_a_token_that_airflow_did_not_give_is_refused(shell: Shell):
    shell._env["AIRFLOW_API_TOKEN"] = "eyJhbGciOiJIUzI1NiJ9.e30.nobody"
    status, answer = shell.run("rollback", "--run", "real_mapped_sends", "any", "--yes")
    assert status == 3
    assert answer["error"]["type"] == "AirflowRefusedError"
    assert "nobody" not in json.dumps(answer)


def test_check_finds_a_connection_that_only_airflows_database_has(environment: Environment):
    given = environment.dingtalk.server.connection() | {"password": SECRET, "connection_id": "dingtalk_in_database"}
    environment.airflow.post("/connections", {**given, "extra": json.dumps(given["extra"])})
    program = [*AIRFLOW, "check", "--conn-id", "dingtalk_in_database", "--json"]
    # At DEBUG, the level of the scenarios, Airflow writes log lines to stdout.
    env = {**environment.stack.env, "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO"}
    try:
        done = subprocess.run(program, env=env, capture_output=True, text=True, timeout=120, check=False)
    finally:
        # The database may hold its password; the sweep for secrets looks at all that is left.
        environment.airflow.delete("/connections/dingtalk_in_database")
    assert done.returncode == 0, done.stderr
    checks = json.loads(done.stdout)["checks"]
    assert len(checks) == 5 and all(one["ok"] for one in checks)
    assert SECRET not in done.stdout + done.stderr
