"""Secret scan after all scenarios: nothing that Airflow wrote has eight characters of a secret."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from airflow_provider_dingtalk.sandbox.default import CLIENT_ID
from airflow_provider_dingtalk.version_compat import HAS_TASK_STATE_STORE
from dev.airflow_stack import AirflowStack
from tests.faults.secret_scanner import Windows, forms, leaks_in, windows
from tests.real_airflow.fixtures import DagRun, Environment, wait_until
from tests.real_airflow.metrics import Metrics
from tests.real_airflow.sweep import logs, rows, tables
from tests.real_airflow.vault import SECRET

#: The task of ``real_hook`` that logs secrets.
INDISCREET = "indiscreet"
#: Tables that must not be empty, to prove that the scan reads the right database.
MUST_HOLD = {"xcom", "rendered_task_instance_fields", "task_instance", "serialized_dag"}
#: Tables of Airflow 3.3 that older versions lack.
MUST_HOLD |= {"task_state_store"} if HAS_TASK_STATE_STORE else set()
MAY_HOLD = {"trigger", "callback"} if HAS_TASK_STATE_STORE else {"trigger"}
#: Parts of names of logs that the scan must have read.
KINDS = ("dag_id=", "attempt=2", ".trigger.", "dag_processor", "scheduler.log", "api-server.log", "triggerer.log")


@dataclass(frozen=True)
class Written:
    """Texts to scan.

    :param waiting: Rows of the database while a sensor waited in the triggerer.
    """

    run: DagRun
    waiting: list[tuple[str, str]]


@pytest.fixture(scope="module")
def written(environment: Environment) -> Written:
    """Run tasks that fail, retry, wait and notify, so there are texts to scan."""
    environment.dingtalk.empty()
    environment.trigger_and_wait("real_hook")
    (awaited,) = environment.dingtalk.create_messages("group")
    run = environment.trigger("real_secrets", awaited=awaited)
    run.wait_until_deferred("waits")
    waiting = list(rows(environment.stack.home))
    environment.dingtalk.read_by(awaited, "user001")
    return Written(run.wait(), waiting)


@pytest.fixture(scope="module")
def wanted(written: Written, environment: Environment) -> Windows:
    """Every eight consecutive characters of every encoding of every secret."""
    secrets = environment.dingtalk.server.state.secrets()
    assert len(secrets) > 4, "tokens are among them"
    return windows(secrets)


def told(name: str, text: str) -> str:
    """Return a log without known leaks.

    Airflow 3.3.2 repeats task logs on the standard output of its LocalExecutor and masks nothing there, not even a
    connection's password. One task logs secrets on purpose, so its lines are left out.
    """
    if "/" in name:
        return text
    return "\n".join(line for line in text.splitlines() if f"task_id={INDISCREET} " not in line)


def leaks(found: Iterable[tuple[str, str]], wanted: Windows) -> list[object]:
    return [leak for name, text in found for leak in leaks_in([text], wanted, name)]


def test_the_run_did_what_writes_most(written: Written, environment: Environment):
    assert written.run.states() == {
        "third_party": "success",
        "fails_and_tells": "failed",
        "wrong_secret": "failed",
        "waits": "success",
        "tried_again": "success",
        "tells_by_default": "failed",
    }
    assert written.run.tries()["tried_again"] == 2
    assert "fails_and_tells failed." in str(environment.dingtalk.messages())


def test_the_default_text_of_an_alert_leads_to_the_log(written: Written, environment: Environment):
    # The callback of the DAG runs in the DAG processor, after the end of the run.
    wait_until("the DAG's callback", lambda: len(default_texts(environment)) > 1)
    of_dag, of_task = sorted(default_texts(environment), reverse=True)
    log = f"/dags/real_secrets/runs/{quote(written.run.run_id)}/tasks/"
    assert re.sub("http://[^/]+", "", of_task) == (
        "DAG real_secrets, task tells_by_default: failed\nDAG real_secrets，任务 tells_by_default：失败\n"
        f"Run 运行: {written.run.run_id}\nTry 尝试: 1\nLog 日志: {log}tells_by_default?try_number=1\n"
        "Error 错误: ValueError: The login with *** is refused."
    )
    assert of_dag.startswith("DAG real_secrets: task_failure\nDAG real_secrets：task_failure\nTask 任务: ")
    assert f"\nRun 运行: {written.run.run_id}\nTry 尝试: 1\nLog 日志: http" in of_dag and log in of_dag


def default_texts(environment: Environment) -> list[str]:
    found = [message["text"] for message in environment.dingtalk.messages().values()]
    return [text for text in found if text.startswith("DAG ")]


def test_no_log_holds_a_secret(wanted: Windows, stack: AirflowStack):
    found = dict(logs(stack.home))
    assert [kind for kind in KINDS if not any(kind in name for name in found)] == []
    assert any("The secret is ***" in text for text in found.values()), "the logs of tasks are among them"
    assert any("DEBUG" in text or '"debug"' in text for text in found.values())
    assert leaks(((name, told(name, text)) for name, text in found.items()), wanted) == []


def test_no_xcom_no_rendered_field_and_no_other_row_holds_a_secret(
    wanted: Windows, written: Written, stack: AirflowStack
):
    found = list(rows(stack.home))
    assert {name for name, _ in found} >= MUST_HOLD
    assert any(CLIENT_ID in row for name, row in found if name == "xcom"), "receipts are among them"
    assert leaks(found, wanted) == []


def test_no_row_of_a_waiting_trigger_holds_a_secret(wanted: Windows, written: Written):
    triggers = [row for name, row in written.waiting if name == "trigger"]
    assert any("cidgroup1" in row for row in triggers), "its arguments can be read"
    assert leaks(written.waiting, wanted) == []


def test_no_metric_holds_a_secret(wanted: Windows, metrics: Metrics, written: Written):
    assert any("real_secrets" in line for line in metrics.lines)
    assert leaks((("metrics", line) for line in metrics.lines), wanted) == []


def test_no_xcom_that_the_api_shows_holds_a_secret(wanted: Windows, written: Written):
    shown = [(task, str(written.run.xcom(task))) for task in written.run.states()]
    assert any(text != "None" for _, text in shown)
    assert leaks(shown, wanted) == []


# ── planted leaks prove that the scan finds them ─────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def copy(written: Written, stack: AirflowStack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy of what Airflow wrote, for planted leaks."""
    home = tmp_path_factory.mktemp("home")
    shutil.copy(stack.home / "airflow.cfg", home)
    with (
        closing(sqlite3.connect(stack.home / "airflow.db")) as theirs,
        closing(sqlite3.connect(home / "airflow.db")) as ours,
    ):
        theirs.backup(ours)
    return home


@pytest.mark.parametrize("form", sorted({name for name, _ in forms(SECRET)}))
def test_a_leak_planted_in_any_table_is_found(form: str, copy: Path):
    leak = next(text for name, text in forms(SECRET) if name == form)
    with closing(sqlite3.connect(copy / "airflow.db")) as database:
        database.execute("PRAGMA foreign_keys = OFF")
        names = [name for name in tables(database) if plant(database, name, f"before {leak} after", 1)]
        database.commit()
    assert set(names) > MUST_HOLD | MAY_HOLD
    assert {leak.sink for leak in leaks(rows(copy), windows([SECRET]))} == set(names)


def plant(database: sqlite3.Connection, table: str, text: str, number: int) -> bool:
    """Insert a row with a text in all text columns; return True if there are any."""
    kinds = [kind for _, _, kind, *_ in database.execute(f'PRAGMA table_info("{table}")')]
    takes_text = [kind == "" or any(word in kind for word in ("CHAR", "TEXT", "JSON", "BLOB")) for kind in kinds]
    values = [text if takes else number for takes in takes_text]
    database.execute("PRAGMA ignore_check_constraints = ON")
    database.execute(f'DELETE FROM "{table}"')
    database.execute(f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(kinds))})', values)
    return any(takes_text)


@pytest.mark.parametrize("form", sorted({name for name, _ in forms(SECRET)}))
def test_a_leak_planted_in_any_log_is_found(form: str, stack: AirflowStack, tmp_path: Path, written: Written):
    leak = next(text for name, text in forms(SECRET) if name == form)
    names = {name for name, _ in logs(stack.home)}
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"before\n[DEBUG] {leak}\nafter")
    found = ((name, told(name, text)) for name, text in logs(tmp_path))
    assert {leak.sink for leak in leaks(found, windows([SECRET]))} == names
