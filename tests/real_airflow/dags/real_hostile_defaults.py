"""DAG whose default_args would break a rollback that used them."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import Asset, dag, task

from airflow_provider_dingtalk.notifications import DingTalkNotifier
from airflow_provider_dingtalk.operators import DingTalkSendOTOMessagesOperator, rollback_on_failure
from airflow_provider_dingtalk.version_compat import AirflowFailException


def veto(*_) -> None:
    """Check of a team that fails for unknown tasks."""
    raise ValueError("vetoed")


HOSTILE = {
    "dingtalk_conn_id": "dingtalk_third_party",
    "on_failure_callback": DingTalkNotifier(
        dingtalk_conn_id="dingtalk_default",
        to={"open_conversation_id": "cidgroup3"},
        text="Alert: {{ ti.task_id }}",
    ),
    "pool": "a pool that nobody made",
    "retries": 0,
    "retry_delay": timedelta(hours=1),
    "execution_timeout": timedelta(milliseconds=1),
    "depends_on_past": True,
    "wait_for_downstream": True,
    "trigger_rule": "none_failed",
    "max_active_tis_per_dag": 1,
    "end_date": datetime(2026, 1, 1),
    "do_xcom_push": False,
    "map_index_template": "{{ nothing.like.that }}",
    "pre_execute": veto,
    "post_execute": veto,
    "outlets": [Asset("real_hostile_table")],
    "dry_run": True,
}
#: Arguments that the DAG's own task overrides, as each of its tasks must.
FIT = {
    "pool": "default_pool",
    "execution_timeout": timedelta(minutes=1),
    "depends_on_past": False,
    "wait_for_downstream": False,
    "end_date": None,
    "map_index_template": None,
    "pre_execute": None,
    "post_execute": None,
}


@dag(schedule=None, start_date=datetime(2026, 1, 1), default_args=HOSTILE)
def real_hostile_defaults():
    @task(**FIT)
    def work() -> None:
        raise AirflowFailException("The numbers are wrong.")

    @task.branch(**FIT)
    def last() -> None:
        return None

    with rollback_on_failure():
        send = DingTalkSendOTOMessagesOperator(task_id="send", user_ids=["user001", "user002"], text="wrong", **FIT)
        send >> [work(), last()]


real_hostile_defaults()
