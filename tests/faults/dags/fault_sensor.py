"""A sensor that waits in the triggerer."""

from __future__ import annotations

from airflow.sdk import dag

from airflow_provider_dingtalk.sensors import DingTalkGroupMessageSensor


@dag(schedule=None, params={"key": ""})
def fault_sensor():
    DingTalkGroupMessageSensor(
        task_id="wait",
        process_query_key="{{ params.key }}",
        open_conversation_id="cidgroup3",
        min_readers=2,
        poke_interval=1,
        timeout=300,
        deferrable=True,
    )


fault_sensor()
