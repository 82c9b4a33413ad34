"""Rollbacks of other runs: by run, by time, with guards; and sweeps of runs that timed out."""

from __future__ import annotations

import pendulum
import pytest

from tests.real_airflow.fixtures import VERSION, DagRun, Environment, classes, wait_until

OTHERS = "real_rollback_of_others"


def sent(environment: Environment, text: str) -> set[str]:
    return {key for key, message in environment.dingtalk.messages().items() if message["text"] == text}


@pytest.fixture(scope="module")
def good(environment: Environment) -> dict[str, DagRun]:
    """Two successful runs of a DAG, and a time between them."""
    environment.dingtalk.empty()
    first = environment.trigger_and_wait("real_rollback", label="first")
    between = pendulum.now("UTC")
    second = environment.trigger_and_wait("real_rollback", label="second")
    assert (first.state, second.state) == ("success", "success")
    return {"first": first, "second": second, "between": between}


def test_a_dry_run_takes_nothing_back_and_says_what_it_would(good: dict[str, DagRun], environment: Environment):
    run = environment.trigger_and_wait(OTHERS, dag="real_rollback", run=good["first"].run_id, dry_run=True)
    plan = run.xcom("undo", "plan")
    keys = sent(environment, "first") | sent(environment, "first, not of the block")
    assert set(plan["would_recall"]) == keys
    assert plan["counts"] == {"group": 7, "total": 7, "expired": 0}
    assert environment.dingtalk.gone() == set()


def test_more_than_allowed_fails_and_takes_nothing_back(good: dict[str, DagRun], environment: Environment):
    run = environment.trigger_and_wait(OTHERS, dag="real_rollback", run=good["first"].run_id, max=6)
    assert run.states()["undo"] == "failed"
    assert "There are 7 messages to recall, max_messages is 6" in run.log("undo")
    assert environment.dingtalk.gone() == set()
    failed = run.report("undo")["failed"]
    assert (len(failed), {reason["code"] for reason in failed.values()}) == (7, {"too_many_messages"})


def test_some_tasks_of_a_run_are_taken_back_then_what_a_dag_sent_since_a_moment(
    good: dict[str, DagRun], environment: Environment
):
    some = environment.trigger_and_wait(OTHERS, dag="real_rollback", run=good["second"].run_id, tasks="send")
    gone = environment.dingtalk.gone()
    assert classes(some.report("undo"))["recalled"] == gone == set(good["second"].keys("send"))
    window = environment.trigger_and_wait(OTHERS, dag="real_rollback", since=good["between"].isoformat())
    everything = sent(environment, "second") | sent(environment, "second, not of the block")
    assert environment.dingtalk.gone() == everything
    # Messages that were recalled before are not recalled again.
    assert classes(window.report("undo"))["recalled"] == everything - gone
    again = environment.trigger_and_wait(OTHERS, dag="real_rollback", since=good["between"].isoformat())
    assert again.report("undo")["counts"]["total"] == 0
    assert again.report("undo")["api_calls"] == {"total": 0}


def test_what_was_read_stays_and_its_readers_can_be_told(good: dict[str, DagRun], environment: Environment):
    keys = sorted(good["first"].keys("send"))
    environment.dingtalk.read_by(keys[0], "user001", "user002")
    environment.dingtalk.read_by(keys[1], "user003")
    run = environment.trigger_and_wait(OTHERS, dag="real_rollback", run=good["first"].run_id, tasks="send", readers=1)
    report = run.report("undo")
    assert classes(report)["recalled"] == set(keys[1:])
    assert report["kept"] == {"read": 1}
    assert report["readers"] == {keys[1]: ["user003"], keys[2]: []}
    assert report["readers_api_calls"] == 3
    assert environment.dingtalk.gone(keys) == set(keys[1:])
    assert run.state == "success"
    assert len(sent(environment, "Please forget the last message.")) == 1


def test_a_message_that_cannot_be_asked_for_stays_and_the_others_are_recalled(environment: Environment):
    run = environment.trigger_and_wait("real_rollback", label="one robot is stopped")
    keys = run.keys("send")
    messages = environment.dingtalk.messages()
    (broken,) = [key for key in keys if messages[key]["open_conversation_id"] == "cidgroup2"]
    conversation = environment.dingtalk.server.state.conversations["cidgroup2"]
    conversation.stopped = True
    try:
        undo = environment.trigger_and_wait(OTHERS, dag="real_rollback", run=run.run_id, tasks="send", readers=1)
    finally:
        conversation.stopped = False
    report = undo.report("undo")
    assert undo.states()["undo"] == "success"
    assert report["kept"] == {"not_known": 1}
    assert classes(report)["recalled"] == environment.dingtalk.gone(list(keys)) == set(keys) - {broken}
    assert "bot.stopped" in undo.log("undo")


def test_the_rollback_log_is_an_asset_whose_events_say_what_became_of_each_run(
    good: dict[str, DagRun], environment: Environment
):
    # Airflow's scheduler lists an asset of an alias at its next clean-up.
    wait_until("the rollback log is among the assets", lambda: bool(environment.rollback_log("real_rollback")))
    events = environment.rollback_log("real_rollback")
    of_first = [event["extra"] for event in events if event["extra"]["run_id"] == good["first"].run_id]
    assert {"kept": 6, "recalled": 0, "left": 0} in [
        {name: extra[name] for name in ("kept", "recalled", "left") if name in extra} for extra in of_first
    ]
    assert any(extra["recalled"] == 2 for extra in of_first)


def test_a_sweep_finishes_the_rollback_of_a_run_that_timed_out(environment: Environment):
    environment.dingtalk.empty()
    late = environment.trigger("real_rollback_timeout")
    well = environment.trigger("real_rollback_timeout", sleep=0)
    late.wait()
    well.wait()
    # Airflow 3.1 leaves what it had not begun without a state.
    assert (late.state, late.states()["rollback"]) == ("failed", "skipped" if VERSION >= (3, 2) else None)
    assert (well.state, well.states()["rollback"]) == ("success", "success")
    assert environment.dingtalk.gone() == set()
    sweep = environment.trigger_and_wait("real_sweep")
    wrong = set(late.keys("send"))
    assert len(wrong) == 2
    assert classes(sweep.report("sweep"))["recalled"] == wrong == environment.dingtalk.gone()
    # The next one finds nothing left to do.
    calls = environment.dingtalk.calls()
    again = environment.trigger_and_wait("real_sweep")
    assert again.report("sweep")["counts"]["total"] == 0
    assert environment.dingtalk.calls() == calls


def test_the_report_has_a_link(good: dict[str, DagRun], environment: Environment):
    run = environment.trigger_and_wait(OTHERS, dag="real_rollback", run=good["first"].run_id, dry_run=True)
    links = environment.airflow.get(f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/undo/links")
    assert links["extra_links"]["Report"].endswith(f"/runs/{run.run_id}/tasks/undo/xcom")
