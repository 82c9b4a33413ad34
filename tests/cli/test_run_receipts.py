"""Receipts of runs by Airflow's REST API: all of the run, over all pages, and no others."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_dingtalk.sandbox.default import ROBOT_CODE
from tests.cli.fake_airflow import FakeAirflow
from tests.cli.terminal import AIRFLOW_TOKEN, Terminal

RUN = ("revenue", "scheduled__2026-11-21T00:00:00+00:00")
LOGGED_IN = {"AIRFLOW_API_TOKEN": AIRFLOW_TOKEN}


def receipts(keys: list[str], sent_at: str | None = None) -> list[dict[str, Any]]:
    more = {"sent_at": sent_at} if sent_at else {}
    return [{"version": 1, "kind": "oto", "robot_code": ROBOT_CODE, "process_query_key": key, **more} for key in keys]


@pytest.fixture
def keys(terminal: Terminal, airflow: FakeAirflow) -> list[str]:
    """Eight messages of one run: of a plain send in two chunks, of a mapped one, of a task that used the hook."""
    keys = terminal.create_messages("oto", 8)
    airflow.add_run(*RUN, end_date="2026-11-21T00:10:00+00:00")
    airflow.push(*RUN, "send", "receipts_0", receipts(keys[:2]))
    airflow.push(*RUN, "send", "receipts_1", receipts(keys[2:3]))
    airflow.push(*RUN, "send", "receipts_count", 3)
    airflow.push(*RUN, "send", "return_value", receipts(keys[:3]))
    for index in range(2):
        airflow.push(*RUN, "mapped", "receipts_0", receipts([keys[3 + index]]), index)
        airflow.push(*RUN, "mapped", "return_value", receipts([keys[3 + index]]), index)
    airflow.push(*RUN, "by_hand", "return_value", [receipts([keys[5]]), receipts(keys[6:])])
    airflow.push(*RUN, "figures", "return_value", {"kind": "group", "rows": [1, 2, 3]})
    airflow.push("other", "run", "send", "receipts_0", receipts(terminal.create_messages("oto")))
    return keys


def test_all_that_a_run_sent_is_recalled(terminal: Terminal, airflow: FakeAirflow, keys: list[str]):
    done = terminal.run("rollback", "--run", *RUN, "--yes", "--airflow-url", airflow.url, env=LOGGED_IN)
    assert done.status == 0
    assert terminal.gone() == set(keys)


def test_what_a_rollback_returned_that_kept_its_messages_is_not_read(
    terminal: Terminal, airflow: FakeAirflow, keys: list[str]
):
    for index in range(3):
        airflow.push(*RUN, "rollback", "return_value", {"kept": 1}, index)
        airflow.push(*RUN, "rollback", "kept", 1, index)
        airflow.push(*RUN, "half_kept", "return_value", receipts(terminal.create_messages("oto")), index)
    airflow.push(*RUN, "half_kept", "kept", 1, 2)
    done = terminal.run("status", "--run", *RUN, "--json", env=LOGGED_IN | {"AIRFLOW_API_URL": airflow.url})
    assert len(done.json["messages"]) == len(keys) + 3
    assert not [url for url in airflow.seen if "/rollback/xcomEntries/" in url]


def test_only_what_some_tasks_sent(terminal: Terminal, airflow: FakeAirflow, keys: list[str]):
    arguments = ("--run", *RUN, "--task", "mapped", "by_hand", "--airflow-url", airflow.url)
    assert terminal.run("rollback", *arguments, "--yes", env=LOGGED_IN).status == 0
    assert terminal.gone() == set(keys[3:])


def test_what_the_runs_own_rollback_recalled_costs_no_call(terminal: Terminal, airflow: FakeAirflow, keys: list[str]):
    airflow.push(*RUN, "rollback", "report", {"recalled": keys[:7], "counts": {}})
    airflow.push(*RUN, "figures", "report", {"recalled": keys})
    done = terminal.run("status", "--run", *RUN, "--json", env=LOGGED_IN | {"AIRFLOW_API_URL": airflow.url})
    assert [message["key"] for message in done.json["messages"]] == keys[7:]


def test_all_that_a_long_recall_took_back_costs_no_call(terminal: Terminal, airflow: FakeAirflow, keys: list[str]):
    airflow.push(*RUN, "rollback", "recalled_0", keys[:3])
    airflow.push(*RUN, "rollback", "recalled_1", keys[3:7])
    airflow.push(*RUN, "rollback", "report", {"recalled": keys[:2], "counts": {}})
    done = terminal.run("status", "--run", *RUN, "--json", env=LOGGED_IN | {"AIRFLOW_API_URL": airflow.url})
    assert [message["key"] for message in done.json["messages"]] == keys[7:]


UNDO = ("undo", "manual__1", "rollback")


def test_what_another_dag_recalled_is_left_out_of_plan_and_recall(
    terminal: Terminal, airflow: FakeAirflow, keys: list[str]
):
    airflow.push(*UNDO, "recalled_0", keys[:5])
    airflow.push("undo", "manual__1", "send", "recalled_0", keys)
    airflow.note(RUN[0], UNDO, dag_id=RUN[0], run_id=RUN[1], recalled=5)
    airflow.note("Revenue%", UNDO, recalled=8)
    arguments = ("rollback", "--run", *RUN, "--airflow-url", airflow.url)
    plan = terminal.run(*arguments, "--dry-run", "--json", env=LOGGED_IN)
    assert [receipt["process_query_key"] for receipt in plan.json["receipts"]] == keys[5:]
    assert "5 messages that other runs recalled" in plan.err
    assert terminal.run(*arguments, "--yes", env=LOGGED_IN).status == 0
    assert terminal.gone() == set(keys[5:])
    since = terminal.run(
        "rollback", "--since", "2026-11-21T00:00Z", *arguments[4:], "--dry-run", "--json", env=LOGGED_IN
    )
    assert not {receipt["process_query_key"] for receipt in since.json["receipts"]} & set(keys[:5])


def test_a_user_who_may_not_see_assets_recalls_all_and_is_told(
    terminal: Terminal, airflow: FakeAirflow, keys: list[str]
):
    airflow.hides_assets = True
    done = terminal.run("rollback", "--run", *RUN, "--yes", "--airflow-url", airflow.url, env=LOGGED_IN)
    assert done.status == 0
    assert "Messages that other runs took back already may be among these" in done.err
    assert terminal.gone() == set(keys)


def test_since_takes_runs_and_messages_of_the_window_only(terminal: Terminal, airflow: FakeAirflow):
    before, after, running, undated = terminal.create_messages("oto", 4)
    (elsewhere,) = terminal.create_messages("oto")
    airflow.add_run("revenue", "old", end_date="2026-11-20T08:00:00+00:00")
    airflow.push("revenue", "old", "send", "receipts_0", receipts(["not-asked-for"]))
    airflow.add_run("revenue", "ended", end_date="2026-11-21T02:00:00+00:00")
    airflow.push("revenue", "ended", "send", "receipts_0", receipts([before], "2026-11-21T00:59:59Z"))
    airflow.push("revenue", "ended", "send", "receipts_1", receipts([after], "2026-11-21T01:00:00Z"))
    airflow.push("revenue", "ended", "send", "receipts_2", receipts([undated]))
    airflow.add_run("revenue", "running")
    airflow.push("revenue", "running", "send", "receipts_0", receipts([running], "2026-11-21T01:30:00Z"))
    airflow.add_run("other", "ended", end_date="2026-11-21T02:00:00+00:00")
    airflow.push("other", "ended", "send", "receipts_0", receipts([elsewhere]))
    # Nine in the morning in Airflow's time zone: in Shanghai, eight hours ahead of UTC. The terminal is elsewhere.
    env = LOGGED_IN | {"AIRFLOW__CORE__DEFAULT_TIMEZONE": "Asia/Shanghai", "TZ": "America/New_York"}
    window = ("--since", "2026-11-21T09:00", "--airflow-url", airflow.url, "--dry-run", "--json")
    everything = terminal.run("rollback", *window, env=env)
    assert "2026-11-21 01:00:00 UTC (2026-11-21 09:00:00 Asia/Shanghai)" in everything.err
    found = {receipt["process_query_key"] for receipt in everything.json["receipts"]}
    assert found == {after, undated, running, elsewhere}
    one_dag = terminal.run("rollback", *window, "--dag", "revenue", env=env)
    assert {receipt["process_query_key"] for receipt in one_dag.json["receipts"]} == {after, undated, running}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--run", "revenue", "nothing"), "no run 'nothing'"),
        (("--run", *RUN, "--task", "sned"), "no task 'sned'"),
        (("--since", "2h", "--dag", "nothing"), "--dag: Airflow knows no DAG 'nothing'"),
        (("--since", "2026-11-21T00:00Z", "--task", "send", "sned"), "none of the runs has a task 'sned'"),
    ],
)
def test_what_airflow_does_not_know_is_bad_input(
    terminal: Terminal, airflow: FakeAirflow, keys: list[str], arguments: tuple[str, ...], said: str
):
    done = terminal.run("rollback", *arguments, "--yes", "--airflow-url", airflow.url, env=LOGGED_IN)
    assert done.status == 2
    assert said in done.err
    assert terminal.calls() == 0


@pytest.mark.parametrize("messages", [True, False])
@pytest.mark.parametrize("arguments", [("--run", *RUN), ("--since", "2026-11-21T00:00Z", "--dag", RUN[0])])
def test_a_send_in_doubt_is_told_and_left(
    terminal: Terminal, airflow: FakeAirflow, arguments: tuple[str, ...], messages: bool
):
    keys = terminal.create_messages("oto", 2)
    airflow.add_run(*RUN, end_date="2026-11-21T00:10:00+00:00")
    if messages:
        airflow.push(*RUN, "send", "receipts_0", receipts(keys))
    airflow.push(*RUN, "send", "unknown", [{"to": ["user001"], "code": "no_answer", "message": "", "next_step": ""}])
    done = terminal.run("rollback", *arguments, "--yes", "--airflow-url", airflow.url, env=LOGGED_IN)
    assert (done.status, terminal.gone()) == (1, set(keys) if messages else set())
    assert "At most 1 sends put a message into a chat and left no receipt: send (1)" in done.err


def test_a_run_that_sent_nothing_is_no_failure(terminal: Terminal, airflow: FakeAirflow):
    airflow.add_run(*RUN)
    done = terminal.run("rollback", "--run", *RUN, "--yes", "--json", "--airflow-url", airflow.url, env=LOGGED_IN)
    assert done.status == 0
    assert done.json["counts"]["total"] == 0


def test_what_a_custom_xcom_backend_hides_is_told_and_not_forgotten(terminal: Terminal, airflow: FakeAirflow):
    airflow.add_run(*RUN)
    airflow.push(*RUN, "send", "receipts_0", "s3://bucket/receipts_0")
    operator = f"DingTalkRollbackOperator(from_dag={RUN[0]!r}, "
    for source, told in (
        (("--run", *RUN), f"{operator}from_run={RUN[1]!r})"),
        (("--since", "2026-11-01T09:30+08:00", "--dag", RUN[0]), f"{operator}since='2026-11-01T01:30:00+00:00')"),
    ):
        done = terminal.run("rollback", *source, "--yes", "--airflow-url", airflow.url, env=LOGGED_IN)
        assert done.status == 4
        assert "custom XCom backend" in done.err
        assert "dingtalk_incident_rollback" in done.err
        assert told in done.err


def test_a_stranger_s_dict_costs_only_itself_with_a_warning(terminal: Terminal, airflow: FakeAirflow):
    (key,) = terminal.create_messages("oto")
    airflow.add_run(*RUN)
    airflow.push(*RUN, "send", "receipts_0", receipts([key]))
    airflow.push(*RUN, "stranger", "return_value", {**receipts(["bad\nkey"])[0], "rows": 3})
    done = terminal.run("rollback", "--run", *RUN, "--yes", "--airflow-url", airflow.url, env=LOGGED_IN)
    assert done.status == 0
    assert terminal.gone() == {key}
    assert "stranger" in done.err


def test_a_run_of_one_send_takes_two_requests(terminal: Terminal, airflow: FakeAirflow):
    """A chunk that is not full is the last of a run that has ended, so the number of receipts is not read."""
    keys = terminal.create_messages("oto", 40)

    def requests(*runs: int) -> int:
        for number in runs:
            run = ("revenue", f"run {number}")
            airflow.add_run(*run, end_date="2026-11-21T02:00:00+00:00")
            airflow.push(*run, "send", "receipts_0", receipts([keys[number]]))
            airflow.push(*run, "send", "receipts_count", 1)
        airflow.seen.clear()
        done = terminal.run(
            "rollback",
            "--since",
            "2026-11-21T01:00Z",
            "--airflow-url",
            airflow.url,
            "--dry-run",
            "--json",
            env=LOGGED_IN,
        )
        assert len(done.json["receipts"]) == len(airflow.runs)
        return sum("xcomEntries" in url for url in airflow.seen)

    assert (requests(*range(10)), requests(*range(10, 40))) == (20, 80)


def test_a_run_that_ends_between_two_lists_is_read(terminal: Terminal, airflow: FakeAirflow):
    keys = terminal.create_messages("oto", 1)
    airflow.add_run(*RUN)
    airflow.push(*RUN, "send", "receipts_0", receipts(keys))
    airflow.ends_after_list = "2026-11-21T02:00:00+00:00"
    done = terminal.run(
        "rollback", "--since", "2026-11-21T01:00Z", "--airflow-url", airflow.url, "--yes", env=LOGGED_IN
    )
    assert done.status == 0
    assert terminal.gone() == set(keys)
