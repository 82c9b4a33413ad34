"""Recall the morning's message "the canteen is open" at 18:00 on weekdays.

The time zone is Shanghai's. Another DAG sends the messages at 11:00 and stores their receipts in an Airflow
Variable.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import dag, task
from airflow.timetables.trigger import CronTriggerTimetable

from airflow_provider_dingtalk.operators import DingTalkRollbackOperator


@dag(
    schedule=CronTriggerTimetable("0 18 * * 1-5", timezone="Asia/Shanghai"),
    start_date=pendulum.datetime(2026, 1, 1, tz="Asia/Shanghai"),
    catchup=False,
    tags=["dingtalk"],
)
def dingtalk_scheduled_recall():
    @task
    def receipts_of_this_morning() -> list[dict]:
        from airflow.sdk import Variable

        return Variable.get("dingtalk_canteen_receipts", default=[], deserialize_json=True)

    DingTalkRollbackOperator(task_id="recall", receipts=receipts_of_this_morning(), on_empty="skip")


dingtalk_scheduled_recall()
