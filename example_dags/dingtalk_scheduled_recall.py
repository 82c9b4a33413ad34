"""Every weekday at 18:00 in Shanghai, take back the "the canteen is open" message of the morning.

The messages were sent at 11:00 by another DAG; a run finds its receipts where that one left them: in a Variable.
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
