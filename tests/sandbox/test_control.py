"""The control door, the command line, and the test helper."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import Any

import httpx
import pytest

from airflow_provider_dingtalk.client.endpoints import ENDPOINTS
from airflow_provider_dingtalk.sandbox.__main__ import main
from airflow_provider_dingtalk.sandbox.handlers import HANDLERS
from airflow_provider_dingtalk.sandbox.journal import JOURNAL_SIZE, Journal
from airflow_provider_dingtalk.sandbox.responses import json_response
from airflow_provider_dingtalk.sandbox.testing import running_sandbox
from tests.sandbox.sandbox_dialogue import Dialogue


def test_every_endpoint_is_served() -> None:
    assert set(HANDLERS) == set(ENDPOINTS)


def test_truth(talk: Dialogue) -> None:
    keys = talk.create_messages("oto", 3, age_seconds=60, text="planted here")
    talk.recall("oto", keys[:1])
    talk.recall("oto", ["unknown"])
    truth = talk.control("GET", "truth")
    assert truth["counts"] == {"oto": {"sent": 3, "recalled": 1, "visible": 2}}
    calls = truth["calls"]["robot/otoMessages/batchRecall"]
    assert calls == {"total": 2, "throttled": 0, "refused": 1, "cut": 0}
    first = truth["messages"][0]
    assert (first["key"], first["sent_at"], first["recalled_at"]) == (
        keys[0],
        talk.clock.time - 60,
        talk.clock.time,
    )
    assert (first["text"], first["recalls"], truth["people"]) == ("planted here", 1, 60)
    assert {chat["open_conversation_id"] for chat in truth["conversations"]} >= {"cidgroup1", "cidprivate1"}
    assert set(talk.control("GET", "truth?brief=1")) == {"time", "counts", "calls"}
    assert talk.sandbox.snapshot(brief=True)["counts"] == truth["counts"]


def test_journal_has_no_secrets(talk: Dialogue) -> None:
    talk.recall("oto", ["a", "b"])
    talk.work("recall", {"agent_id": 1000, "msg_task_id": 1})
    text = talk.http.get("/_sandbox/journal").text
    assert talk.token not in text and "sandbox-secret" not in text
    login, recall, work = talk.control("GET", "journal")["requests"]
    assert (login["api"], login["code"], login["token"]) == ("oauth2/accessToken", "ok", None)
    assert (recall["keys"], recall["status"], recall["code"]) == (2, 400, "invalid.processQueryKey")
    assert (work["code"], work["token"]) == ("400002", recall["token"])
    assert talk.control("GET", f"journal?since={recall['seq']}")["requests"] == [work]


def test_journal_is_bounded() -> None:
    journal = Journal()
    for _ in range(JOURNAL_SIZE + 5):
        journal.write(journal.arrive("a", 0), json_response({}))
    assert (len(journal.entries), journal.entries[0].seq) == (JOURNAL_SIZE, 6)
    assert journal.calls["a"].total == JOURNAL_SIZE + 5


def test_reset(talk: Dialogue) -> None:
    talk.create_messages("group", 2)
    talk.faults({"action": {"type": "drop"}})
    talk.control("POST", "clock", {"advance": 99})
    talk.behave(unfit_keys="per_key")
    assert talk.control("POST", "reset")["counts"] == {}
    state = talk.sandbox.state
    assert (state.messages, state.faults.rules, state.clock_offset, state.tokens) == ({}, [], 0, {})
    assert state.behaviour.unfit_keys == "whole_batch"


def test_people_read(talk: Dialogue) -> None:
    [key] = talk.create_messages("oto", user_ids=["user005"])
    assert talk.control("POST", "read", {"key": key, "user_ids": ["user005", "newcomer"]})["readers"] == 2
    [key] = talk.create_messages("group")
    assert talk.control("POST", "read", {"key": key, "count": 75})["readers"] == 75
    assert talk.sandbox.snapshot()["people"] == 75


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "read", {"key": "nothing", "count": 1}),
        ("POST", "plant", {"kind": "pigeon"}),
        ("POST", "plant", {"kind": "group", "open_conversation_id": "cidnowhere"}),
        ("PUT", "behaviour", {"mood": "good"}),
        ("PUT", "behaviour", {"unfit_keys": "maybe"}),
        ("POST", "clock", {"forward": 1}),
        ("POST", "robots", {"robot_code": "dingnobody"}),
    ],
)
def test_orders_that_make_no_sense(talk: Dialogue, method: str, path: str, body: Any) -> None:
    answer = talk.http.request(method, f"/_sandbox/{path}", json=body)
    assert answer.status_code == 400 and answer.json()["error"]


def test_faults_never_strike_the_control_door(talk: Dialogue) -> None:
    talk.faults({"action": {"type": "drop"}})
    assert talk.control("GET", "faults")["faults"][0]["seen"] == 0


def test_two_sandboxes_at_once(talk: Dialogue) -> None:
    with running_sandbox() as other:
        talk.create_messages("group")
        assert other.url != talk.sandbox.url and other.snapshot()["counts"] == {}
        assert other.connection()["host"] == other.url
        assert httpx.get(f"{other.url}/_sandbox/clock", trust_env=False).status_code == 200


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
