"""Rollbacks of messages that cannot be listed fail; all messages that can be listed are found."""

from __future__ import annotations

import pendulum
import pytest

from tests.real_airflow.fixtures import DagRun, Environment, classes

OTHERS, TASKS, PLAIN = "real_rollback_of_others", "real_rollback_of_tasks", "real_plain_sends"


def sent(environment: Environment, text: str) -> set[str]:
    return {key for key, message in environment.dingtalk.messages().items() if message["text"] == text}


def in_shanghai(moment: pendulum.DateTime) -> str:
    """Return a time in Shanghai without its zone."""
    return moment.in_timezone("Asia/Shanghai").strftime("%Y-%m-%d %H:%M:%S.%f")


class Plain:
    """Runs of a DAG without a rollback, and rollbacks of them side by side."""

    def __init__(self, environment: Environment) -> None:
        begin = environment.trigger
        first, third = begin(PLAIN, text="first"), begin(PLAIN, text="third")
        assert (first.wait().state, third.wait().state) == ("success", "success")
        self.between = pendulum.now("UTC")
        second = begin(PLAIN, text="second")
        self.unknown_dag = begin(OTHERS, dag="real_plain_sent", since="2026-11-01")
        self.never_ran = begin(OTHERS, dag="real_chinese_ids", since="2026-11-01")
        self.misspelt_task = begin(TASKS, dag=PLAIN, run=third.run_id, tasks="sned")
        self.plan_of_nothing = begin("real_plan_of_nothing")
        self.sweep_nowhere, self.sweep_without = (begin("real_sweep", dags=[dag]) for dag in ("real_nowhere", PLAIN))
        assert second.wait().state == "success"
        assert len(sent(environment, "second")) == 1
        since = in_shanghai(self.between)
        self.plan = begin(OTHERS, dag=PLAIN, since=since, dry_run=True)
        for run in (
            self.unknown_dag,
            self.never_ran,
            self.misspelt_task,
            self.plan_of_nothing,
            self.sweep_nowhere,
            self.sweep_without,
            self.plan,
        ):
            run.wait()
        self.gone_before = environment.dingtalk.gone()
        self.window = begin(OTHERS, dag=PLAIN, since=since).wait()


@pytest.fixture(scope="module")
def plain(environment: Environment) -> Plain:
    environment.dingtalk.empty()
    return Plain(environment)


def test_a_dry_run_of_a_dag_without_a_rollback_finds_and_counts_messages_people_and_calls(
    plain: Plain, environment: Environment
):
    plan = plain.plan.xcom("undo", "plan")
    assert set(plan["would_recall"]) == sent(environment, "second")
    assert (plan["counts"]["total"], plan["people"], plan["api_calls"]) == (1, 2, 1)
    assert plain.gone_before == set()
    log = plain.plan.log("undo")
    assert "1 messages, to 2 people, would be recalled in about 1 API calls" in log
    # The log has the time in UTC and as the user wrote it.
    written = plain.between.in_timezone("Asia/Shanghai").strftime("%Y-%m-%d %H:%M:%S")
    assert f"since: {plain.between.strftime('%Y-%m-%d %H:%M:%S')} UTC ({written} Asia/Shanghai)" in log


def test_it_is_taken_back_by_a_time_without_a_zone(plain: Plain, environment: Environment):
    run = plain.window
    assert run.state == "success"
    assert classes(run.report("undo"))["recalled"] == sent(environment, "second") == environment.dingtalk.gone()


def test_a_dag_that_airflow_does_not_know_is_an_error(plain: Plain):
    assert plain.unknown_dag.states()["undo"] == "failed"
    assert "from_dag: is 'real_plain_sent'; Airflow knows no DAG" in plain.unknown_dag.log("undo")


def test_a_dag_that_never_ran_sent_nothing(plain: Plain):
    run = plain.never_ran
    assert (run.state, run.report("undo")["counts"]["total"]) == ("success", 0)


def test_a_task_that_the_run_does_not_have_is_an_error(plain: Plain):
    assert plain.misspelt_task.states()["undo"] == "failed"
    assert "from_tasks: holds 'sned'" in plain.misspelt_task.log("undo")


def test_a_dry_run_of_nothing_ends_as_on_empty_says(plain: Plain):
    run = plain.plan_of_nothing
    assert run.states() == {"succeed": "success", "skip": "skipped", "fail": "failed"}
    assert {run.xcom(task, "plan")["counts"]["total"] for task in run.states()} == {0}
    assert "nothing to recall: looked through" in run.log("fail")


def test_a_sweep_fails_for_a_dag_that_is_not_there_and_for_one_without_the_rollback(plain: Plain):
    assert plain.sweep_nowhere.state == plain.sweep_without.state == "failed"
    assert "dag_ids: is 'real_nowhere'; Airflow knows no DAG" in plain.sweep_nowhere.log("sweep")
    problem = f"rollbacks: is ['rollback']; no run of '{PLAIN}' has a task of such an id"
    assert problem in plain.sweep_without.log("sweep")


def test_what_tasks_of_a_block_return_in_any_shape_is_taken_back(environment: Environment):
    environment.dingtalk.empty()
    keys = environment.dingtalk.create_messages("group", 3)
    run: DagRun = environment.trigger_and_wait("real_returned_receipts", keys=keys)
    assert (run.state, run.states()["rollback"]) == ("failed", "success")
    assert classes(run.report("rollback"))["recalled"] == set(keys) == environment.dingtalk.gone()
    assert "Ignoring a value of task stranger" in run.log("rollback")
