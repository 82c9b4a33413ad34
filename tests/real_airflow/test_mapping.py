"""Dynamic task mapping: many sends, one rollback; and one recall each."""

from __future__ import annotations

import pytest

from tests.real_airflow.fixtures import DagRun, Environment, classes, keys_of_receipt

GROUPS = ["cidgroup1", "cidgroup2", "cidgroup3"]


def keys_sent(run: DagRun) -> set[str]:
    """Keys that the mapped send got."""
    mapped = [run.xcom("send", map_index=index) for index in range(3)]
    return {keys_of_receipt(receipt) for receipts in mapped for receipt in receipts or []}


@pytest.fixture(scope="module")
def runs(environment: Environment) -> tuple[DagRun, DagRun]:
    """A successful run, and one with an unknown group."""
    environment.dingtalk.empty()
    good = environment.trigger("real_mapped_sends")
    bad = environment.trigger("real_mapped_sends", conversations=["cidgroup1", "cidnowhere", "cidgroup3"])
    return good.wait(), bad.wait()


def test_nested_receipts_of_mapped_sends_are_taken_back_and_a_skipped_send_is_dropped(
    runs: tuple[DagRun, DagRun], environment: Environment
):
    good, _ = runs
    assert good.state == "success"
    states = good.states()
    assert [states[f"send[{index}]"] for index in range(3)] == ["success"] * 3
    assert states["not_today"] == states["skipped"] == "skipped"
    assert states["by_receipts"] == "success"
    assert good.xcom("by_task") == {"kept": 3}
    keys = keys_sent(good)
    assert len(keys) == 3
    assert classes(good.report("by_receipts"))["recalled"] == keys == environment.dingtalk.gone([*keys])


def test_when_one_mapped_send_fails_the_messages_of_the_others_are_taken_back(
    runs: tuple[DagRun, DagRun], environment: Environment
):
    _, bad = runs
    states = bad.states()
    assert [states[f"send[{index}]"] for index in range(3)] == ["success", "failed", "success"]
    assert states["by_receipts"] == "upstream_failed"
    assert states["by_task"] == "success"
    keys = keys_sent(bad)
    assert len(keys) == 2
    assert classes(bad.report("by_task"))["recalled"] == keys == environment.dingtalk.gone([*keys])


def test_a_recall_can_be_mapped_over_receipts(runs: tuple[DagRun, DagRun], environment: Environment):
    for run in runs:
        keys = run.keys("send_to_people")
        assert environment.dingtalk.gone(keys) == set(keys)
        for index, key in enumerate(keys):
            assert run.states()[f"recall_each[{index}]"] == "success"
            assert classes(run.report("recall_each", index))["recalled"] == {key}


def test_each_of_the_mapped_recalls_is_an_event_of_the_rollback_log(
    runs: tuple[DagRun, DagRun], environment: Environment
):
    found = environment.rollback_log("real_mapped_sends", *runs)
    events = [event for event in found if event["source_task_id"] == "recall_each"]
    noted = sorted((event["source_run_id"], event["source_map_index"]) for event in events)
    assert noted == sorted((run.run_id, index) for run in runs for index in range(2))
    assert all(event["extra"]["recalled"] == 1 for event in events)


def test_nothing_is_left_in_any_chat(runs: tuple[DagRun, DagRun], environment: Environment):
    assert {kind: count["visible"] for kind, count in environment.dingtalk.counts().items()} == {"group": 0, "oto": 0}
