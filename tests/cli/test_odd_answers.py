"""Odd answers of Airflow and DingTalk: typed errors, and no control characters on the terminal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_dingtalk.sandbox.default import ROBOT_CODE
from tests.cli.fake_airflow import FakeAirflow
from tests.cli.terminal import AIRFLOW_TOKEN, Terminal

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


def receipt(key: str) -> dict[str, Any]:
    return {"version": 1, "kind": "oto", "robot_code": ROBOT_CODE, "process_query_key": key}


@pytest.mark.parametrize(
    ("command", "what"), [*(("rollback", what) for what in ODD), ("status", "no list"), ("status", "deep JSON")]
)
def test_an_airflow_that_answers_otherwise_is_told_as_one(
    terminal: Terminal, airflow: FakeAirflow, what: str, command: str
):
    airflow.add_run(*RUN, end_date="2026-11-21T00:10:00+00:00")
    airflow.push(*RUN, "send", "receipts_0", [receipt("k")])
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


NAUGHTY = "\x1b]0;pwn\x07\x9b31m\u202etxt"


def steers(text: str) -> list[str]:
    return [send_request for send_request in text if not send_request.isprintable() and send_request not in "\n\t"]


@pytest.mark.parametrize("as_json", [False, True])
def test_ids_of_airflow_do_not_steer_the_terminal(terminal: Terminal, airflow: FakeAirflow, as_json: bool):
    airflow.add_run(*RUN)
    airflow.push(*RUN, f"send{NAUGHTY}", "receipts_0", "s3://bucket/key")
    airflow.push(*RUN, f"other{NAUGHTY}", "return_value", [{**receipt(NAUGHTY), "version": 1}])
    options = ("--json",) if as_json else ()
    done = terminal.run("rollback", "--run", *RUN, "--yes", *options, "--airflow-url", airflow.url, env=LOGGED_IN)
    assert done.status == 4
    assert "pwn" in done.err
    assert steers(done.out) == steers(done.err) == []


def test_a_stranger_s_dict_costs_only_itself_with_a_warning(terminal: Terminal, airflow: FakeAirflow):
    (key,) = terminal.create_messages("oto")
    airflow.add_run(*RUN)
    airflow.push(*RUN, "send", "receipts_0", [receipt(key)])
    airflow.push(*RUN, "stranger", "return_value", {**receipt("bad\nkey"), "rows": 3})
    done = terminal.run("rollback", "--run", *RUN, "--yes", "--airflow-url", airflow.url, env=LOGGED_IN)
    assert done.status == 0
    assert terminal.gone() == {key}
    assert "stranger" in done.err


def test_a_proxy_setting_that_is_none_is_told_without_its_password(terminal: Terminal):
    env = LOGGED_IN | {"HTTP_PROXY": "nonsense://user:hunter2@proxy:1"}
    done = terminal.run("rollback", "--since", "2h", "--yes", "--airflow-url", "http://airflow.example", env=env)
    assert done.status == 2
    assert "HTTP_PROXY" in done.err and "hunter2" not in done.err


@pytest.mark.parametrize("as_json", [False, True])
def test_a_state_of_dingtalk_s_does_not_steer_the_terminal(terminal: Terminal, as_json: bool):
    (key,) = terminal.create_messages("oto")
    answer = json.dumps({"sendStatus": NAUGHTY, "messageReadInfoList": []})
    terminal.sandbox.faults({"match": "robot/oToMessages/readStatus", "action": {"type": "body", "text": answer}})
    options = ("--json",) if as_json else ()
    arguments = ("--keys", key, "--kind", "oto", "--robot-code", ROBOT_CODE)
    done = terminal.run("status", *arguments, *options)
    assert done.status == 0
    assert "pwn" in done.out
    assert steers(done.out) == steers(done.err) == []
    if as_json:
        assert done.json["messages"][0]["send_status"] == NAUGHTY
