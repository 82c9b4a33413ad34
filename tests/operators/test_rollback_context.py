"""DAG with ``rollback_on_failure``: one more task, with the dependencies that Airflow needs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, AssetAlias, TaskGroup, TriggerRule, task, task_group

from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.operators import (
    DingTalkRollbackOperator,
    DingTalkSendGroupMessageOperator,
    rollback_on_failure,
)
from airflow_provider_dingtalk.task.asset_events import ALIAS, rollback_log
from airflow_provider_dingtalk.task.registry import rollbacks_of
from tests.support.airflow_seams import TaskInstance


def send(task_id: str = "send") -> DingTalkSendGroupMessageOperator:
    return DingTalkSendGroupMessageOperator(task_id=task_id, open_conversation_id="cidgroup1", text="A")


def empty(task_id: str) -> EmptyOperator:
    return EmptyOperator(task_id=task_id)


def dag_of(build: Callable[[], Any], **options: Any) -> DAG:
    with DAG("some", schedule=None, **options) as dag:
        build()
    return dag


def test_every_task_of_the_block_has_an_edge_of_its_own():
    def build():
        before = empty("before")
        with rollback_on_failure():
            first = send()
            before >> first >> empty("work") >> empty("more")
        first >> empty("after")

    rollback = dag_of(build).get_task("rollback")
    assert rollback.upstream_task_ids == {"send", "work", "more"}
    assert rollback.from_tasks == rollback.only_if_failed == ["send", "work", "more"]


def test_it_is_a_teardown_that_says_nothing_about_the_run():
    rollback = dag_of(lambda: _block(send)).get_task("rollback")
    assert rollback.is_teardown
    assert rollback.trigger_rule is TriggerRule.ALL_DONE_SETUP_SUCCESS
    assert rollback.on_failure_fail_dagrun is False


def test_its_watcher_fails_the_run_without_hiding_how_the_work_ended():
    watcher = dag_of(lambda: _block(send)).get_task("rollback_watcher")
    assert watcher.is_teardown and watcher.on_failure_fail_dagrun
    assert watcher.upstream_task_ids == {"rollback"}
    assert watcher.watched == ["send"]


def test_a_send_knows_who_takes_back_what_it_sends_mapped_or_not():
    def build():
        with rollback_on_failure(task_id="outer"), rollback_on_failure(task_id="inner"):
            send()
            DingTalkSendGroupMessageOperator.partial(task_id="many", text="A").expand(
                open_conversation_id=["cidgroup1"]
            )

    dag = dag_of(build)
    for task_id in ("send", "many"):
        context: Any = {"dag": dag, "ti": TaskInstance(task_id)}
        assert sorted(rollbacks_of(context)) == ["inner", "outer"]
    elsewhere: Any = {"dag": dag, "ti": TaskInstance("elsewhere")}
    assert rollbacks_of(elsewhere) == []


def _block(*makers: Callable[[], Any], **options: Any) -> DingTalkRollbackOperator:
    with rollback_on_failure(**options) as rollback:
        for make in makers:
            make()
    return rollback


def test_it_is_tried_again_and_depends_on_no_other_run():
    defaults = {"depends_on_past": True, "wait_for_downstream": True, "retries": 0, "trigger_rule": "none_failed"}
    rollback = dag_of(lambda: _block(send), default_args=defaults).get_task("rollback")
    assert (rollback.retries, rollback.retry_delay.total_seconds()) == (3, 30)
    assert rollback.depends_on_past is rollback.wait_for_downstream is False
    assert rollback.trigger_rule is TriggerRule.ALL_DONE_SETUP_SUCCESS


def test_the_operator_s_arguments_go_through():
    rollback = dag_of(
        lambda: _block(send, task_id="undo", dingtalk_conn_id="mine", retries=1, fail_on={"failed"})
    ).get_task("undo")
    assert (rollback.dingtalk_conn_id, rollback.retries, rollback.fail_on) == ("mine", 1, {"failed"})


def test_mapped_tasks_and_nested_groups_belong_to_the_block():
    def build():
        with rollback_on_failure(), TaskGroup("outer"):
            DingTalkSendGroupMessageOperator.partial(task_id="send", text="A").expand(
                open_conversation_id=["cidgroup1"]
            )
            with TaskGroup("inner"):
                empty("work")

    rollback = dag_of(build).get_task("rollback")
    assert rollback.upstream_task_ids == {"outer.send", "outer.inner.work"}


def test_in_a_task_group_it_is_one_of_the_group_and_what_follows_the_group_does_not_follow_it():
    def build():
        with TaskGroup("group") as group, rollback_on_failure():
            branch = _branch("branch")
            branch >> [send(), empty("other")] >> empty("join")
        group >> empty("after")

    dag = dag_of(build)
    assert dag.get_task("group.rollback").upstream_task_ids == {"group.send", "group.other", "group.join"}
    assert dag.get_task("after").upstream_task_ids == {"group.join"}


def _branch(task_id: str) -> Any:
    @task.branch(task_id=task_id)
    def choose() -> None:
        return None

    return choose()


def test_a_branch_cannot_skip_it():
    """A branch skips what is right below it and was not chosen."""

    def build():
        with rollback_on_failure():
            send() >> _branch("inside") >> empty("arm") >> _branch("last")

    dag = dag_of(build)
    rollback = dag.get_task("rollback")
    assert rollback.upstream_task_ids == {"send", "arm", "rollback_after_last"}
    assert dag.get_task("rollback_after_last").upstream_task_ids == {"last"}
    assert set(rollback.only_if_failed) == {"send", "inside", "arm", "last"}


def test_branches_of_one_name_and_of_the_longest_do_not_hide_the_dag():
    def build():
        with rollback_on_failure():
            send()
            for group in "ab":
                with TaskGroup(group):
                    _branch("branch")
            _branch("b" * 250)

    dag = dag_of(build)
    between = dag.get_task("rollback").upstream_task_ids - {"send"}
    assert {*map(len, between)} == {len("rollback_after_branch"), len("rollback_after_branch") + 13, 250}
    upstream = [dag.get_task(task_id).upstream_task_ids for task_id in between]
    assert sorted(map(list, upstream)) == [["a.branch"], ["b.branch"], ["b" * 250]]


def test_a_rollback_waits_for_a_setup_that_no_other_task_of_the_block_follows():
    def build():
        with rollback_on_failure():
            send().as_setup()
            empty("work")

    dag = dag_of(build)
    assert dag.get_task("rollback").upstream_task_ids == {"work", "rollback_after_send"}
    assert dag.get_task("rollback_after_send").upstream_task_ids == {"send"}


def test_setups_and_cleanups_of_others_are_left_as_they_are():
    def build():
        with rollback_on_failure():
            create = empty("create").as_setup()
            delete = empty("delete").as_teardown(setups=create)
            create >> send() >> delete

    rollback = dag_of(build).get_task("rollback")
    assert rollback.upstream_task_ids == {"send", "delete"}
    assert rollback.only_if_failed == ["create", "send"]
    assert rollback.from_tasks == ["create", "delete", "send"], "a teardown may send, too"


def test_a_block_of_teardowns_recalls_what_they_sent_if_one_fails():
    def build():
        with rollback_on_failure():
            send().as_teardown()

    rollback = dag_of(build).get_task("rollback")
    assert (rollback.from_tasks, rollback.only_if_failed) == (["send"], True)
    assert rollback.upstream_task_ids == {"send"}


def test_an_outer_block_waits_for_the_rollback_of_an_inner_one():
    def build():
        with rollback_on_failure(task_id="outer"):
            send("first")
            with rollback_on_failure(task_id="inner"):
                send("second")

    dag = dag_of(build)
    assert dag.get_task("inner").upstream_task_ids == {"second"}
    outer = dag.get_task("outer")
    assert outer.upstream_task_ids == {"first", "inner", "inner_watcher", "second"}
    assert outer.from_tasks == ["first", "second"]
    assert outer.only_if_failed == ["first", "second", "inner_watcher"]


def test_in_a_mapped_task_group_it_is_mapped_too():
    def build():
        @task_group
        def each(conversation: str):
            with rollback_on_failure():
                DingTalkSendGroupMessageOperator(task_id="send", open_conversation_id=conversation, text="A")

        each.expand(conversation=["cidgroup1", "cidgroup2"])

    rollback = dag_of(build).get_task("each.rollback")
    assert rollback.get_closest_mapped_task_group() is not None


def test_it_is_allowed_where_a_run_fails_fast():
    assert dag_of(lambda: _block(send), fail_fast=True).get_task("rollback").is_teardown


@pytest.mark.parametrize("build", [_block, lambda: [send(), _block()]])
def test_a_block_without_a_task_is_refused(build):
    with pytest.raises(InvalidInputError, match="rollback_on_failure: has no task"):
        dag_of(build)


def test_a_block_outside_of_a_dag_is_refused():
    with pytest.raises(InvalidInputError, match="rollback_on_failure: must stand inside a DAG"):
        _block(send)


def test_a_block_without_with_is_reported_when_the_dag_file_is_parsed():
    def build():
        rollback_on_failure()
        send()

    with pytest.raises(InvalidInputError, match=r"^rollback_on_failure: 'rollback' has no block; write with"):
        dag_of(build).resolve_template_files()
    dag_of(lambda: _block(send)).resolve_template_files()


@pytest.mark.parametrize("name", ["from_tasks", "only_if_failed"])
def test_what_the_block_says_itself_cannot_be_said_again(name: str):
    with pytest.raises(InvalidInputError, match=f"rollback_on_failure: takes no {name}"):
        dag_of(lambda: _block(send, **{name: ["send"]}))


# ── what the DAG hands down ──


def _alert(context: Any) -> None:
    """Callback in place of a notifier."""


def _veto(context: Any, result: Any = None) -> None:
    """Failing check of a team."""
    raise ValueError("not now")


CALLBACKS = [f"on_{when}_callback" for when in ("execute", "failure", "success", "retry", "skipped")]
TABLE = Asset("table")
HOSTILE: dict[str, Any] = {
    "dingtalk_conn_id": "dingtalk_prod",
    "owner": "finance",
    "queue": "inside",
    "run_as_user": "dingtalk",
    "executor_config": {"image": "ours"},
    **dict.fromkeys(CALLBACKS, _alert),
    "email": ["us@example.com"],
    "retries": 0,
    "retry_delay": timedelta(hours=1),
    "retry_exponential_backoff": True,
    "execution_timeout": timedelta(seconds=1),
    "pool": "one_slot",
    "pool_slots": 7,
    "max_active_tis_per_dag": 1,
    "max_active_tis_per_dagrun": 1,
    "depends_on_past": True,
    "wait_for_downstream": True,
    "wait_for_past_depends_before_skipping": True,
    "trigger_rule": "none_failed",
    "weight_rule": "upstream",
    "priority_weight": 1,
    "start_date": datetime(2026, 1, 1, tzinfo=UTC),
    "end_date": datetime(2026, 1, 2, tzinfo=UTC),
    "pre_execute": _veto,
    "post_execute": _veto,
    "map_index_template": "{{ nothing.like.that }}",
    "do_xcom_push": False,
    "multiple_outputs": True,
    "inlets": [TABLE],
    "outlets": [TABLE],
    "dry_run": True,
    "since": "2026-01-01",
    "receipts": [{"kind": "oto"}],
}


@pytest.fixture
def hostile() -> DAG:
    def build():
        with rollback_on_failure():
            send() >> _branch("branch")

    with pytest.warns(DeprecationWarning, match="email"):
        return dag_of(build, default_args=HOSTILE, start_date=datetime(2026, 1, 1, tzinfo=UTC))


def test_the_rollback_follows_what_helps(hostile: DAG):
    rollback = hostile.get_task("rollback")
    assert rollback.dingtalk_conn_id == hostile.get_task("send").dingtalk_conn_id == "dingtalk_prod"
    for name in ("owner", "queue", "run_as_user", "executor_config"):
        assert getattr(rollback, name) == HOSTILE[name]
        assert getattr(hostile.get_task("rollback_watcher"), name) == HOSTILE[name]
    # A failed rollback must call the failure callbacks.
    assert [getattr(rollback, name) for name in CALLBACKS] == [[_alert]] * len(CALLBACKS)
    assert rollback.email == HOSTILE["email"]


@pytest.mark.parametrize("task_id", ["rollback", "rollback_watcher", "rollback_after_branch"])
def test_none_of_ours_waits_or_is_cut_off(hostile: DAG, task_id: str):
    ours = hostile.get_task(task_id)
    assert (ours.pool, ours.pool_slots) == ("default_pool", 1)
    assert ours.max_active_tis_per_dag is ours.max_active_tis_per_dagrun is None
    assert not (ours.depends_on_past or ours.wait_for_downstream or ours.wait_for_past_depends_before_skipping)
    assert ours.execution_timeout is ours.map_index_template is None
    assert ours._pre_execute_hook is ours._post_execute_hook is None
    assert ours.end_date is None
    assert (ours.priority_weight, ours.inlets) == (1000, [])
    # Airflow 3.1 makes an object of the rule.
    assert "absolute" in str(ours.weight_rule).lower()
    assert (ours.retry_delay.total_seconds(), ours.retry_exponential_backoff) == (30, 0)
    assert TABLE not in ours.outlets
    assert ours.do_xcom_push and not ours.multiple_outputs


def test_the_rollback_is_about_its_block_and_in_earnest(hostile: DAG):
    rollback = hostile.get_task("rollback")
    assert rollback.dry_run is False
    assert rollback.since is rollback.receipts is None
    assert rollback.outlets == [rollback_log("some"), AssetAlias(ALIAS)]


@pytest.mark.parametrize("task_id", ["rollback_watcher", "rollback_after_branch"])
def test_what_stands_beside_it_never_alerts(hostile: DAG, task_id: str):
    ours = hostile.get_task(task_id)
    assert [getattr(ours, name) for name in CALLBACKS] == [[]] * len(CALLBACKS)
    assert ours.email is None
    assert not (ours.email_on_failure or ours.email_on_retry)
    assert ours.retries == 0


def test_the_empty_task_behind_a_branch_waits_for_the_branch(hostile: DAG):
    assert hostile.get_task("rollback_after_branch").trigger_rule is TriggerRule.ALL_SUCCESS


def test_more_retries_than_ours_are_kept():
    assert dag_of(lambda: _block(send), default_args={"retries": 9}).get_task("rollback").retries == 9


def test_a_task_group_hands_down_too():
    def build():
        with TaskGroup("group", default_args={"dingtalk_conn_id": "dingtalk_prod"}):
            _block(send)

    assert dag_of(build).get_task("group.rollback").dingtalk_conn_id == "dingtalk_prod"


def test_what_is_given_to_the_block_counts_also_for_where_its_watcher_runs():
    options = {"pool": "ours", "queue": "fast", "priority_weight": 5, "execution_timeout": timedelta(hours=1)}
    dag = dag_of(lambda: _block(send, outlets=[TABLE], **options), default_args={"pool": "one_slot"})
    rollback, watcher = dag.get_task("rollback"), dag.get_task("rollback_watcher")
    assert {name: getattr(rollback, name) for name in options} == options
    assert (watcher.pool, watcher.queue, watcher.priority_weight) == ("ours", "fast", 5)
    assert watcher.execution_timeout is None
    assert TABLE in rollback.outlets


def test_an_argument_that_nothing_knows_is_refused():
    with pytest.raises(TypeError, match="max_message"):
        dag_of(lambda: _block(send, max_message=3))
