"""Rollbacks of other runs: by run, by time, with guards; and sweeps of runs that timed out."""

from __future__ import annotations

from typing import Any

import pendulum
import pytest

from tests.real_airflow.fixtures import VERSION, DagRun, Environment, classes, wait_until

OTHERS, TASKS, TIMED_OUT = "real_rollback_of_others", "real_rollback_of_tasks", "real_rollback_timeout"


def sent(environment: Environment, text: str) -> set[str]:
    return {key for key, message in environment.dingtalk.messages().items() if message["text"] == text}


class Others:
    """Rollbacks of runs of another DAG, side by side where none disturbs the other."""

    def __init__(self, environment: Environment) -> None:
        self._environment, dingtalk = environment, environment.dingtalk
        begin = environment.trigger
        self.began = pendulum.now("UTC").isoformat()
        self.late, self.well = begin(TIMED_OUT), begin(TIMED_OUT, sleep=0)
        self.first, self.broken = begin("real_rollback", label="first"), begin("real_rollback", label="broken")
        self.first.wait()
        self.broken.wait()
        since = pendulum.now("UTC").isoformat()
        self.second = begin("real_rollback", label="second")
        # Rollbacks that recall nothing.
        self.plan = self._begin(run=self.first.run_id, dry_run=True)
        self.too_many = self._begin(run=self.first.run_id, max=6)
        for run in (self.second, self.plan, self.too_many):
            run.wait()
        self.gone_before = dingtalk.gone()
        # Rollbacks of different messages.
        keys = sorted(self.first.keys("send"))
        dingtalk.read_by(keys[0], "user001", "user002")
        dingtalk.read_by(keys[1], "user003")
        self.some = self._begin(run=self.second.run_id, tasks="send")
        self.unread = self._begin(run=self.first.run_id, tasks="send", readers=1)
        for run in (self.some, self.unread):
            run.wait()
        self.gone_after_some = dingtalk.gone([*self.sent("second")])
        self.window = self._begin(since=since).wait()
        # Nothing is left of that time, and of the other run not all messages can be asked for.
        conversation = dingtalk.server.state.conversations["cidgroup2"]
        conversation.stopped = True
        try:
            again = self._begin(since=since)
            self.undo_broken = self._begin(run=self.broken.run_id, tasks="send", readers=1).wait()
            self.again = again.wait()
        finally:
            conversation.stopped = False
        # The first of them ends after its time limit of 25 s only, and neither takes anything back.
        for run in (self.late, self.well):
            run.wait()
        self.gone_before_sweep = dingtalk.gone()
        self.sweep = begin("real_sweep").wait()

    def _begin(self, **conf: Any) -> DagRun:
        return self._environment.trigger(TASKS if "tasks" in conf else OTHERS, dag="real_rollback", **conf)

    def sent(self, label: str) -> set[str]:
        """Return the keys of all messages of a run."""
        return sent(self._environment, label) | sent(self._environment, f"{label}, not of the block")


@pytest.fixture(scope="module")
def others(environment: Environment) -> Others:
    environment.dingtalk.empty()
    return Others(environment)


def test_a_dry_run_takes_nothing_back_and_says_what_it_would(others: Others):
    assert {run.state for run in (others.first, others.second, others.broken)} == {"success"}
    plan = others.plan.xcom("undo", "plan")
    assert set(plan["would_recall"]) == others.sent("first")
    assert plan["counts"] == {"group": 7, "total": 7, "expired": 0}
    assert others.gone_before == set()


def test_more_than_allowed_fails_and_takes_nothing_back(others: Others):
    assert others.too_many.states()["undo"] == "failed"
    assert "There are 7 messages to recall, max_messages is 6" in others.too_many.log("undo")
    assert others.gone_before == set()
    failed = others.too_many.report("undo")["failed"]
    assert (len(failed), {reason["code"] for reason in failed.values()}) == (7, {"too_many_messages"})


def test_some_tasks_of_a_run_are_taken_back_then_what_a_dag_sent_since_a_moment(
    others: Others, environment: Environment
):
    gone = others.gone_after_some
    assert classes(others.some.report("undo"))["recalled"] == gone == set(others.second.keys("send"))
    everything = others.sent("second")
    assert environment.dingtalk.gone([*everything]) == everything
    # Messages that were recalled before are not recalled again.
    assert classes(others.window.report("undo"))["recalled"] == everything - gone
    assert others.again.report("undo")["counts"]["total"] == 0
    assert others.again.report("undo")["api_calls"] == {"total": 0}


def test_what_was_read_stays_and_its_readers_can_be_told(others: Others, environment: Environment):
    keys = sorted(others.first.keys("send"))
    report = others.unread.report("undo")
    assert classes(report)["recalled"] == set(keys[1:])
    assert report["kept"] == {"read": 1}
    assert report["readers"] == {keys[1]: ["user003"], keys[2]: []}
    assert report["readers_api_calls"] == 3
    assert environment.dingtalk.gone([*others.sent("first")]) == set(keys[1:])
    assert others.unread.state == "success"
    assert len(sent(environment, "Please forget the last message.")) == 1


def test_a_message_that_cannot_be_asked_for_stays_and_the_others_are_recalled(others: Others, environment: Environment):
    keys = others.broken.keys("send")
    messages = environment.dingtalk.messages()
    (broken,) = [key for key in keys if messages[key]["open_conversation_id"] == "cidgroup2"]
    report = others.undo_broken.report("undo")
    assert others.undo_broken.states()["undo"] == "success"
    assert report["kept"] == {"not_known": 1}
    assert classes(report)["recalled"] == environment.dingtalk.gone(list(keys)) == set(keys) - {broken}
    assert "bot.stopped" in others.undo_broken.log("undo")


def test_the_rollback_log_is_an_asset_whose_events_say_what_became_of_each_run(
    others: Others, environment: Environment
):
    # Airflow's scheduler lists an asset of an alias at its next clean-up.
    wait_until("the rollback log is among the assets", lambda: bool(environment.rollback_log("real_rollback")))
    events = environment.rollback_log("real_rollback")
    of_first = [event["extra"] for event in events if event["extra"]["run_id"] == others.first.run_id]
    assert {"kept": 6, "recalled": 0, "left": 0} in [
        {name: extra[name] for name in ("kept", "recalled", "left") if name in extra} for extra in of_first
    ]
    assert any(extra["recalled"] == 2 for extra in of_first)


def test_a_sweep_finishes_the_rollback_of_a_run_that_timed_out(others: Others, environment: Environment):
    late, well = others.late, others.well
    # Airflow 3.1 leaves what it had not begun without a state.
    assert (late.state, late.states()["rollback"]) == ("failed", "skipped" if VERSION >= (3, 2) else None)
    assert (well.state, well.states()["rollback"]) == ("success", "success")
    wrong = set(late.keys("send"))
    assert len(wrong) == 2
    sent_by_both = sent(environment, "inside") | sent(environment, "outside")
    assert not others.gone_before_sweep & sent_by_both
    gone = environment.dingtalk.gone([*sent_by_both])
    assert classes(others.sweep.report("sweep"))["recalled"] == wrong == gone
    # The next one finds nothing left to do.
    calls = environment.dingtalk.calls()
    again = environment.trigger_and_wait("real_sweep")
    assert again.report("sweep")["counts"]["total"] == 0
    assert environment.dingtalk.calls() == calls


def test_a_window_over_runs_that_have_ended_reads_only_what_is_there(others: Others, environment: Environment):
    """They ended long ago enough for what one request tells of all runs; see ``task/dag_history.py``."""
    left = {label: others.sent(label) - environment.dingtalk.gone() for label in ("first", "broken", "second")}
    log = environment.stack.home / "api-server.log"
    before = log.stat().st_size
    plan = environment.trigger_and_wait(OTHERS, dag="real_rollback", since=others.began, dry_run=True)
    assert set(plan.xcom("undo", "plan")["would_recall"]) == left["first"] | left["broken"]
    assert not left["second"]
    asked = [line for line in log.read_bytes()[before:].splitlines() if b"/execution/xcoms/real_rollback/" in line]
    # No run has a second chunk, so one request says so for all.
    assert sum(b"/receipts_1/" in line for line in asked) == (3 if VERSION >= (3, 2) else 9)


def test_the_report_has_a_link(others: Others, environment: Environment):
    run = others.plan
    links = environment.airflow.get(f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/undo/links")
    assert links["extra_links"]["Report"].endswith(f"/runs/{run.run_id}/tasks/undo/xcom")
