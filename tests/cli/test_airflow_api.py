"""Client of Airflow's REST API: login, retries, and odd answers as typed errors."""

from __future__ import annotations

import json

import pytest

from airflow_provider_dingtalk.sandbox.default import ROBOT_CODE
from tests.cli.fake_airflow import FakeAirflow
from tests.cli.terminal import AIRFLOW_PASSWORD, AIRFLOW_TOKEN, Terminal

RUN = ("revenue", "r1")
LOGGED_IN = {"AIRFLOW_API_TOKEN": AIRFLOW_TOKEN}
DEEP = b"[" * 100_000
#: Answers by the last part of the requested path.
ODD: dict[str, tuple[str, bytes]] = {
    "no run": ("r1", b"{}"),
    "a run of nulls": ("r1", b'{"dag_id": null, "dag_run_id": null}'),
    "no list": ("xcomEntries", b"{}"),
    "a null for a list": ("xcomEntries", b'{"xcom_entries": null, "total_entries": 1}'),
    "numbers for entries": ("xcomEntries", b'{"xcom_entries": [1, 2], "total_entries": 2}'),
    "a text for a total": ("xcomEntries", b'{"xcom_entries": [], "total_entries": "many"}'),
    "no total": ("xcomEntries", b'{"xcom_entries": [{"task_id": "a", "map_index": -1, "key": "k"}]}'),
    "an invalid index": (
        "xcomEntries",
        b'{"xcom_entries": [{"task_id": "a", "map_index": "x", "key": "k"}], "total_entries": 1}',
    ),
    "no value": ("receipts_0", b"{}"),
    "deep JSON": ("receipts_0", DEEP),
    "no JSON": ("receipts_0", b"<html>"),
    "no text": ("receipts_0", b"\xff\xfe\x00"),
    "nothing": ("receipts_0", b""),
}


@pytest.fixture
def known_run(airflow: FakeAirflow) -> None:
    receipt = {"version": 1, "kind": "oto", "robot_code": ROBOT_CODE, "process_query_key": "k"}
    airflow.add_run(*RUN, end_date="2026-11-21T00:10:00+00:00")
    airflow.push(*RUN, "send", "receipts_0", [receipt])


@pytest.mark.parametrize(
    ("env", "status"),
    [
        ({}, 3),
        ({"AIRFLOW_API_TOKEN": "wrong-8841"}, 3),
        ({"AIRFLOW_API_USERNAME": "oncall", "AIRFLOW_API_PASSWORD": "wrong-8841"}, 3),
        ({"AIRFLOW_API_USERNAME": "oncall", "AIRFLOW_API_PASSWORD": AIRFLOW_PASSWORD}, 0),
        (LOGGED_IN, 0),
    ],
    ids=["nobody", "wrong token", "wrong password", "password", "token"],
)
def test_airflow_wants_a_login(
    terminal: Terminal, airflow: FakeAirflow, known_run: None, env: dict[str, str], status: int
):
    done = terminal.run("rollback", "--run", *RUN, "--dry-run", "--airflow-url", airflow.url, env=env)
    assert done.status == status
    assert "wrong-8841" not in done.out + done.err
    if status:
        assert "AirflowRefusedError" in done.err and "AIRFLOW_API_TOKEN" in done.err


def test_an_airflow_without_users_needs_no_login(terminal: Terminal, airflow: FakeAirflow, known_run: None):
    airflow.needs_login = False
    assert terminal.run("rollback", "--run", *RUN, "--dry-run", "--airflow-url", airflow.url).status == 0


def test_a_hiccup_of_airflow_is_sat_out(terminal: Terminal, airflow: FakeAirflow, known_run: None):
    airflow.broken = 2
    arguments = ("--run", *RUN, "--dry-run", "--airflow-url", airflow.url)
    assert terminal.run("rollback", *arguments, env=LOGGED_IN).status == 0


def test_an_airflow_that_does_not_answer_is_told(terminal: Terminal):
    arguments = ("--run", *RUN, "--yes", "--airflow-url", "http://127.0.0.1:9", "--json")
    done = terminal.run("rollback", *arguments, env=LOGGED_IN)
    assert done.status == 4
    assert done.json["error"]["type"] == "AirflowUnreachableError"
    assert terminal.calls() == 0


@pytest.mark.parametrize(
    ("command", "what"), [*(("rollback", what) for what in ODD), ("status", "no list"), ("status", "deep JSON")]
)
def test_an_airflow_that_answers_otherwise_is_told_as_one(
    terminal: Terminal, airflow: FakeAirflow, known_run: None, what: str, command: str
):
    path, body = ODD[what]
    airflow.odd[path] = body
    more = ("--yes",) if command == "rollback" else ()
    done = terminal.run(command, "--run", *RUN, *more, "--json", "--airflow-url", airflow.url, env=LOGGED_IN)
    assert done.status == 4
    assert done.json["error"]["type"] == "AirflowUnreachableError"
    assert done.json["error"]["next_step"]
    assert terminal.calls() == 0


@pytest.mark.parametrize("body", [b"{}", b'{"dag_runs": [{}], "total_entries": 1}', b"[]", b"null"])
def test_so_is_one_that_lists_its_runs_otherwise(terminal: Terminal, airflow: FakeAirflow, body: bytes):
    airflow.odd["dagRuns"] = body
    done = terminal.run("rollback", "--since", "2h", "--yes", "--json", "--airflow-url", airflow.url, env=LOGGED_IN)
    assert done.status == 4
    assert done.json["error"]["code"] == "airflow_unexpected"


def test_a_list_without_an_end_ends(terminal: Terminal, airflow: FakeAirflow):
    entry = {"task_id": "a", "map_index": -1, "key": "k"}
    airflow.add_run(*RUN)
    page = {"xcom_entries": [entry] * 200_000, "total_entries": 10**12}
    airflow.odd["xcomEntries"] = json.dumps(page).encode()
    done = terminal.run("rollback", "--run", *RUN, "--yes", "--airflow-url", airflow.url, env=LOGGED_IN)
    assert done.status == 4
    assert "1,000,000" in done.err


def test_a_proxy_setting_that_is_none_is_told_without_its_password(terminal: Terminal):
    env = LOGGED_IN | {"HTTP_PROXY": "nonsense://user:hunter2@proxy:1"}
    done = terminal.run("rollback", "--since", "2h", "--yes", "--airflow-url", "http://airflow.example", env=env)
    assert done.status == 2
    assert "HTTP_PROXY" in done.err and "hunter2" not in done.err
