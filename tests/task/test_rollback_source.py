"""Selection of messages for a rollback, with several runs, mapped tasks and blocks."""

from __future__ import annotations

import pytest

from airflow_provider_dingtalk.exceptions import DingTalkError, InvalidInputError
from airflow_provider_dingtalk.messages.receipt import iso
from airflow_provider_dingtalk.task.rollback_source import of_run, of_unfinished, of_window
from airflow_provider_dingtalk.task.run_history import Tasks, tasks_of_run
from tests.support.runs import DAG, SINCE, Runs, keys


def test_a_sweep_takes_back_what_the_blocks_sent_whose_rollback_did_not_succeed():
    ti = Runs(
        {
            "late": {("send", -1): "success", ("outside", -1): "success", ("rollback", -1): "skipped"},
            "well": {("send", -1): "success", ("rollback", -1): "success"},
            "broken": {("send", -1): "failed", ("rollback", -1): "failed"},
            "alive": {("send", -1): "running", ("rollback", -1): "scheduled"},
        }
    )
    ti.running.add("alive")
    for run in ("late", "well", "broken", "alive"):
        ti.sent(run, "send", f"{run}-1", f"{run}-2", block="rollback")
    ti.sent("late", "outside", "late-3")
    # The failed rollback had recalled one of two messages.
    ti.xcoms["broken", "rollback", -1, "recalled_0"] = ["broken-1"]
    found = of_unfinished({"ti": ti}, DAG, ["rollback"])
    assert keys(found) == {"late": ["late-1", "late-2"], "broken": ["broken-2"]}


@pytest.mark.parametrize(("state", "swept"), [("failed", []), ("skipped", ["sent"])])
def test_a_sweep_keeps_messages_of_a_rollback_that_failed_though_it_had_nothing_to_do(state: str, swept: list[str]):
    ti = Runs({"run": {("send", -1): "success", ("rollback", -1): state}})
    ti.sent("run", "send", "sent", block="rollback")
    ti.xcoms["run", "rollback", -1, "kept_before_error"] = 1
    assert [key for found in of_unfinished({"ti": ti}, DAG, ["rollback"]) for key in keys([found])["run"]] == swept


def test_a_sweep_tells_blocks_and_instances_of_a_mapped_one_apart():
    ti = Runs(
        {
            "run": {
                ("each.send", 0): "success",
                ("each.send", 1): "success",
                ("each.rollback", 0): "success",
                ("each.rollback", 1): "skipped",
                ("send", -1): "success",
                ("rollback", -1): "success",
                ("group.send", -1): "success",
                ("group.rollback", -1): "skipped",
            }
        }
    )
    ti.sent("run", "each.send", "first", index=0, block="each.rollback")
    ti.sent("run", "each.send", "second", index=1, block="each.rollback")
    ti.sent("run", "send", "third", block="rollback")
    ti.sent("run", "group.send", "fourth", block="group.rollback")
    rollbacks = ["rollback", "each.rollback", "group.rollback"]
    assert keys(of_unfinished({"ti": ti}, DAG, rollbacks)) == {"run": ["fourth", "second"]}


def test_a_whole_run_is_what_its_tasks_sent_however_they_ended():
    ti = Runs(
        {
            "run": {
                ("failed", -1): "failed",
                ("mapped", 0): "success",
                ("mapped", 1): "failed",
                ("name_7", -1): "success",
                ("running", 3): "running",
                ("waiting", -1): "deferred",
                ("never", -1): "scheduled",
            }
        }
    )
    for task, index in (
        ("failed", -1),
        ("mapped", 0),
        ("mapped", 1),
        ("name_7", -1),
        ("running", 3),
        ("waiting", -1),
    ):
        ti.sent("run", task, f"{task}{index}", index=index)
    everything = ["failed-1", "mapped0", "mapped1", "name_7-1", "running3", "waiting-1"]
    assert keys([of_run({"ti": ti}, DAG, "run")]) == {"run": everything}
    assert keys([of_run({"ti": ti}, DAG, "run", ["mapped"])]) == {"run": ["mapped0", "mapped1"]}
    ti.xcoms["run", "name_7", -1, "recalled_0"] = ["mapped0", "failed-1"]
    assert keys([of_run({"ti": ti}, DAG, "run")]) == {"run": ["mapped1", "name_7-1", "running3", "waiting-1"]}


def test_thousands_of_receipts_and_of_recalled_keys_are_read_in_their_numbered_pieces():
    ti = Runs({"run": {("send", -1): "success"}})
    for number in range(101):
        ti.xcoms["run", "send", -1, f"receipts_{number}"] = [
            {"kind": "oto", "robot_code": "robot", "process_query_key": f"{number}-{at}"} for at in range(100)
        ]
    for number in range(10):
        ti.xcoms["run", "send", -1, f"recalled_{number}"] = [
            f"{10 * number + tens}-{at}" for tens in range(10) for at in range(100)
        ]
    assert len(of_run({"ti": ti}, DAG, "run").receipts) == 100
    assert len(tasks_of_run({"ti": ti}, DAG, "run").recalled()) == 10_000


def test_a_run_that_somebody_mistyped_is_refused_by_its_name():
    errors: list[DingTalkError] = []
    assert of_run({"ti": Runs({"yesterday": {}})}, DAG, "yesterday", errors=errors).receipts == []
    assert [error.message for error in errors] == ["from_run: is 'yesterday', no run of 'revenue' in which a task ran"]


UNTIL = SINCE + 3600


def test_a_window_finds_runs_without_a_rollback_and_messages_of_unknown_age():
    ti = Runs({"old": {("send", -1): "success"}, "new": {("send", -1): "failed"}, "queued": {("send", -1): "queued"}})
    for run, key, moment in (("old", "early", SINCE - 1), ("new", "late", SINCE + 1), ("new", "later", UNTIL + 1)):
        ti.sent(run, "send", key)
        ti.xcoms[run, "send", -1, "receipts_0"][0]["sent_at"] = iso(moment)
        ti.xcoms[run, f"more_{key}", -1, "receipts_0"] = ti.xcoms[run, "send", -1, "receipts_0"]
        ti._states[run][f"more_{key}", -1] = "success"
    ti.sent("new", "undated", "undated")
    ti._states["new"]["undated", -1] = "success"
    found = of_window({"ti": ti}, DAG, SINCE, UNTIL)
    assert keys(found) == {"old": [], "new": ["late", "undated"], "queued": []}


@pytest.mark.parametrize(
    ("since", "until", "said"),
    [(SINCE, SINCE, "^until: .*not later than since"), (9e9, None, "^since: .* yet to come")],
)
def test_an_empty_window_is_refused(since: float, until: float | None, said: str):
    with pytest.raises(InvalidInputError, match=said):
        of_window({"ti": Runs({"run": {("send", -1): "success"}})}, DAG, since, until)


def test_an_id_that_ends_in_a_digit_of_another_script_is_no_instance_of_a_mapped_task():
    ti = Runs({"run": {("发送_²", -1): "failed", ("发送", -1): "success", ("x_٣", -1): "running"}})
    ti.sent("run", "x_٣", "third")
    assert not Tasks({"ti": ti}, ["发送"], dag_id=DAG, run_id="run").failed()
    assert Tasks({"ti": ti}, ["发送_²"], dag_id=DAG, run_id="run").failed()
    assert keys([of_run({"ti": ti}, DAG, "run")]) == {"run": ["third"]}
