"""Command ``check``: the first thing to try with a new connection."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_dingtalk.cli.commands.check import _checks
from airflow_provider_dingtalk.language import VARIABLE
from tests.cli.terminal import Terminal


def test_a_good_connection_passes_and_nothing_is_sent(terminal: Terminal) -> None:
    done = terminal.run("check", "--json")
    assert done.status == 0
    assert [one["name"] for one in done.json["checks"]] == [
        "connection",
        "access token",
        "status of group messages",
        "status of one-on-one messages",
        "status of work notifications",
    ]
    assert all(one["ok"] for one in done.json["checks"])
    assert terminal.sandbox.snapshot()["messages"] == []
    told = terminal.run("check")
    assert told.out.count("permitted") == 3
    assert "not known" not in told.err


@pytest.mark.parametrize(
    ("host", "told"), [("cn", "region cn"), ("http://127.0.0.1:8848", "region cn, http://127.0.0.1:8848")]
)
def test_a_region_is_named_once(host: str, told: str) -> None:
    settings = SimpleNamespace(region="cn", host_label=host)
    hook: Any = SimpleNamespace(settings=lambda: settings, run=lambda _: None)
    assert next(_checks(hook))[0]["text"] == told


def test_a_wrong_secret_ends_it_with_the_next_step(terminal: Terminal) -> None:
    connection = terminal.sandbox.connection() | {"password": "wrong-secret-of-check"}
    done = terminal.run("check", env={"AIRFLOW_CONN_DINGTALK_DEFAULT": json.dumps(connection)})
    assert done.status == 3
    assert "NO" in done.out and "wrong-secret-of-check" not in done.out + done.err
    assert "Client Secret" in done.out or "AppSecret" in done.out


def test_a_missing_permission_is_named_and_the_others_are_checked(terminal: Terminal) -> None:
    refusal = {"type": "status", "status": 403, "code": "Forbidden.AccessDenied.AccessTokenPermissionDenied"}
    terminal.sandbox.faults({"match": "oToMessages/readStatus", "action": refusal})
    done = terminal.run("check", "--json")
    assert done.status == 3
    bad = [one for one in done.json["checks"] if not one["ok"]]
    assert [one["name"] for one in bad] == ["status of one-on-one messages"]
    assert "qyapi_robot_sendmsg" in bad[0]["text"]
    assert len(done.json["checks"]) == 5


def test_a_robot_that_is_not_there_is_named(terminal: Terminal) -> None:
    done = terminal.run("check", "--robot-code", "dingnowhere", "--json")
    assert done.status == 3
    bad = [one for one in done.json["checks"] if not one["ok"]]
    assert {one["name"] for one in bad} == {"status of group messages", "status of one-on-one messages"}
    assert all("robot" in one["text"] for one in bad)


def test_a_connection_without_senders_says_what_is_missing(terminal: Terminal) -> None:
    connection = terminal.sandbox.connection() | {"extra": {}}
    done = terminal.run("check", "--json", env={"AIRFLOW_CONN_DINGTALK_DEFAULT": json.dumps(connection)})
    assert done.status == 0
    assert [one["name"] for one in done.json["checks"][2:]] == ["robot_code", "agent_id"]


def test_a_connection_that_is_missing_is_named_without_a_made_up_code(terminal: Terminal) -> None:
    done = terminal.run("check", "--conn-id", "nope")
    assert done.status == 3
    assert "dingtalk_conn_id: cannot read the connection 'nope'" in done.out
    assert "no_code" not in done.out


@pytest.mark.parametrize(
    ("option", "titles", "is_english"),
    [("en", ["checked", "result"], True), ("zh", ["检查项", "结果"], False)],
)
def test_people_read_it_in_their_language_and_machines_in_english(
    terminal: Terminal, option: str, titles: list[str], is_english: bool
) -> None:
    refusal = {"type": "status", "status": 403, "code": "Forbidden.AccessDenied.AccessTokenPermissionDenied"}
    terminal.sandbox.faults({"match": "oToMessages/readStatus", "action": refusal})
    env = {VARIABLE: option, "PYTHONIOENCODING": "utf-8"}
    head, *lines = terminal.run("check", env=env).out.splitlines()
    assert head.split() == titles
    assert [("Grant the app" in line, "permitted" in line) for line in lines[2:]] == (
        [(False, True), (True, False), (False, True)] if is_english else [(False, False)] * 3
    )
    assert ("开发者后台" in lines[3]) is not is_english
    bad = [one for one in terminal.run("check", "--json", env=env).json["checks"] if not one["ok"]]
    assert [one["name"] for one in bad] == ["status of one-on-one messages"]
    assert "Grant the app" in bad[0]["text"] and bad[0]["text"].isascii()
