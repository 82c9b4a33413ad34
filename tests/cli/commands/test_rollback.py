"""Command ``rollback`` with keys and receipts, compared with the state of the sandbox."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from airflow_provider_dingtalk.client.error_codes import rule_for
from airflow_provider_dingtalk.sandbox.default import (
    AGENT_ID,
    GROUPS,
    OTHER_CLIENT_ID,
    OTHER_CLIENT_SECRET,
    OTHER_ROBOT_CODE,
    ROBOT_CODE,
)
from tests.cli.terminal import MODULE, PROGRAMS, Terminal

GROUP = ("--kind", "group", "--open-conversation-id", GROUPS[0])


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_keys_of_the_command_line_are_recalled(terminal: Terminal, program: list[str]):
    keys, others = terminal.create_messages("group", 2), terminal.create_messages("group", 2)
    done = terminal.run("rollback", "--keys", ",".join(keys), *GROUP, "--yes", program=program)
    assert done.status == 0
    assert done.out.startswith("recalled 2   failed 0   expired 0   unknown 0   total 2\n")
    assert terminal.gone() == set(keys)
    assert not terminal.gone() & set(others)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("oto", ("--robot-code", ROBOT_CODE)),
        ("work_notification", ("--agent-id", str(AGENT_ID))),
        ("work_notification", ()),
        ("ding", ()),
    ],
)
def test_each_kind_is_recalled_by_a_file_of_keys(terminal: Terminal, tmp_path: Path, kind: str, more: tuple[str, ...]):
    keys = terminal.create_messages(kind, 3)
    file = tmp_path / "keys.txt"
    file.write_text("\n".join(keys) + "\n\n")
    done = terminal.run("rollback", "--keys", str(file), "--kind", kind, *more, "--yes", "--json")
    assert done.status == 0
    assert set(done.json["recalled"]) == set(keys) == terminal.gone()


def test_receipts_of_two_connections_are_recalled_by_each(terminal: Terminal):
    other = {
        **terminal.sandbox.connection(),
        "login": OTHER_CLIENT_ID,
        "password": OTHER_CLIENT_SECRET,
        "extra": {"robot_code": OTHER_ROBOT_CODE},
    }
    env = {"AIRFLOW_CONN_DINGTALK_OTHER": json.dumps(other)}
    text = ("--text", "Wrong figures.")
    ours = terminal.run("send", "--group", GROUPS[0], *text, env=env)
    theirs = terminal.run("send", "--conn-id", "dingtalk_other", "--group", GROUPS[0], *text, env=env)
    lost = [{**receipt, "process_query_key": "k1", "conn_id": "dingtalk_deleted"} for receipt in ours.json]
    receipts = json.dumps([*ours.json, *theirs.json, *lost])
    done = terminal.run("rollback", "--keys", "-", "--yes", "--json", stdin=receipts, env=env)
    keys = {receipt["process_query_key"] for receipt in (*ours.json, *theirs.json)}
    assert (done.status, set(done.json["recalled"]), set(done.json["failed"])) == (1, keys, {"k1"})
    assert terminal.gone() == keys


def test_a_dry_run_calls_nobody(terminal: Terminal):
    sent_at = "2026-01-01T00:00:00Z"
    old = {"kind": "oto", "robot_code": ROBOT_CODE, "process_query_key": "old", "sent_at": sent_at}
    young = [{"kind": "oto", "robot_code": ROBOT_CODE, "process_query_key": f"k{i}"} for i in range(21)]
    done = terminal.run("rollback", "--keys", json.dumps([old, *young]), "--dry-run", "--json")
    assert done.status == 0
    assert (done.json["total"], done.json["api_calls"], done.json["expired"]) == (22, 2, ["old"])
    assert done.json["by_kind"] == {"oto": 22}
    table = terminal.run("rollback", "--keys", json.dumps(young), "--dry-run")
    assert "21 messages in about 2 API calls" in table.out
    assert terminal.calls() == 0


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_a_plan_and_a_report_in_other_forms(terminal: Terminal, program: list[str]):
    keys = terminal.create_messages("group", 2)
    arguments = ("rollback", "--keys", ",".join(keys), *GROUP)
    plan = terminal.run(*arguments, "--dry-run", "-o", "plain", program=program)
    heading, row = plan.out.splitlines()
    assert heading.split() == ["kind", "robot", "or", "agent", "conversation", "messages", "sent", "(UTC)"]
    assert row.split() == ["group", ROBOT_CODE, GROUPS[0], "2", "unknown"]
    report = yaml.safe_load(terminal.run(*arguments, "--yes", "-o", "yaml", program=program).out)
    assert report["counts"]["recalled"] == 2 and set(report["recalled"]) == set(keys)


def test_it_speaks_chinese(terminal: Terminal):
    keys = terminal.create_messages("group", 1)
    refusal = {"type": "fail_keys", "keys": keys, "reason": "not.allowed.robotCode"}
    terminal.sandbox.faults({"match": "groupMessages/recall", "action": refusal})
    arguments = ("rollback", "--keys", keys[0], *GROUP)
    env = {"AIRFLOW__DINGTALK__LANGUAGE": "zh"}
    assert "共 1 条消息，约需 1 次 API 调用" in terminal.run(*arguments, "--dry-run", env=env).out
    report = terminal.run(*arguments, "--yes", "-o", "plain", env=env).out
    assert rule_for("not.allowed.robotCode").next_step_zh in report
    assert rule_for("not.allowed.robotCode").next_step not in report


def test_what_is_left_is_listed_and_told_by_the_exit_status(terminal: Terminal):
    keys = terminal.create_messages("group", 3)
    action = {"type": "fail_keys", "keys": keys[:1], "reason": "not.allowed.robotCode"}
    terminal.sandbox.faults({"match": "groupMessages/recall", "action": action})
    done = terminal.run("rollback", "--keys", ",".join(keys), *GROUP, "--yes")
    assert done.status == 1
    assert "recalled 2   failed 1" in done.out
    (line,) = [line for line in done.out.splitlines() if line.startswith("failed")]
    assert keys[0] in line and "not.allowed.robotCode" in line
    assert terminal.gone() == set(keys[1:])
    # Without the fault, the same command calls only for the rest, and earlier refusals are forgotten.
    terminal.sandbox.faults()
    again = terminal.run("rollback", "--keys", ",".join(keys), *GROUP, "--yes", "--json")
    assert again.status == 0
    assert terminal.gone() == set(keys)
    assert [terminal.sandbox.state.messages[key].recalls for key in keys] == [1, 1, 1]
    # After success no checkpoint file is left.
    assert list((terminal.home / "dingtalk" / "rollbacks").iterdir()) == []


def test_a_killed_rollback_goes_on_where_it_stopped(terminal: Terminal):
    keys = terminal.create_messages("group", 60)
    api = "robot/groupMessages/recall"
    terminal.sandbox.faults({"match": api, "nth": [2, 3], "action": {"type": "delay", "seconds": 60}})
    arguments = ["rollback", "--keys", ",".join(keys), *GROUP, "--yes"]
    running = terminal.start(*arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: terminal.sandbox.snapshot(brief=True)["calls"].get(api, {}).get("total") == 3)
    finally:
        running.kill()
        running.wait()
    first = terminal.gone()
    assert len(first) == 20
    terminal.sandbox.faults()
    plan = terminal.run(*arguments[:-1], "--dry-run", "--json")
    assert {receipt["process_query_key"] for receipt in plan.json["receipts"]} == set(keys) - first
    assert "recalled 20 of these messages already" in plan.err
    done = terminal.run(*arguments, "--json")
    assert done.status == 0
    assert done.json["counts"]["recalled"] == 60
    # Recalled messages are not called again, calls in flight are.
    assert done.json["api_calls"]["again"] == 2
    assert {terminal.sandbox.state.messages[key].recalls for key in first} == {1}
    assert terminal.gone() == set(keys)


def test_a_checkpoint_that_cannot_be_written_is_told_in_the_one_report(terminal: Terminal):
    arguments = ("rollback", "--keys", ",".join(terminal.create_messages("group", 30)), *GROUP)
    # Airflow writes its configuration once.
    assert terminal.run(*arguments, "--dry-run").status == 0
    program = ["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", *MODULE]
    done = terminal.run(*arguments, "--yes", "--json", program=program)
    assert done.status == 1
    assert (done.json["error"]["code"], done.json["counts"]["total"]) == ("checkpoint", 30)
    assert set(done.json["recalled"]) <= terminal.gone()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_tells_what_it_did(terminal: Terminal, number: int):
    keys = terminal.create_messages("group", 60)
    api = "robot/groupMessages/recall"
    terminal.sandbox.faults({"match": api, "nth": [2, 3], "action": {"type": "delay", "seconds": 60}})
    running = terminal.start(
        "rollback",
        "--keys",
        ",".join(keys),
        *GROUP,
        "--yes",
        "--json",
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: terminal.sandbox.snapshot(brief=True)["calls"].get(api, {}).get("total") == 3)
    running.send_signal(number)
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    report = json.loads(out)
    assert set(report["recalled"]) == terminal.gone()
    assert report["counts"]["recalled"] + report["counts"]["unknown"] == report["counts"]["total"] == 60


@pytest.mark.parametrize(("typed", "status"), [("y\n", 0), ("n\n", 5), ("\n", 5)])
def test_on_a_terminal_it_asks_first(terminal: Terminal, typed: str, status: int):
    (key,) = terminal.create_messages("oto")
    master, slave = pty.openpty()
    running = terminal.start(
        "rollback", "--keys", key, "--kind", "oto", stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    os.close(slave)
    os.write(master, typed.encode())
    _, said = running.communicate(timeout=60)
    os.close(master)
    assert running.returncode == status
    assert "Recall 1 messages? 撤回 1 条消息？ [y/N]" in said.decode()
    assert terminal.gone() == ({key} if status == 0 else set())
    assert bool(terminal.calls()) == (status == 0)


def test_without_a_terminal_a_rollback_needs_a_yes(terminal: Terminal):
    keys = terminal.create_messages("oto")
    done = terminal.run("rollback", "--keys", keys[0], "--kind", "oto")
    assert done.status == 2
    assert "--yes" in done.err
    assert terminal.calls() == 0
