"""Many sensors that wait in the triggerer, each for one reader of its message."""

from __future__ import annotations

import json
from pathlib import Path

from airflow.sdk import dag, task

from airflow_provider_dingtalk.sensors import DingTalkGroupMessageSensor


@dag(schedule=None, params={"file": ""})
def fault_sensors():
    @task
    def keys(params: dict) -> list[str]:
        return json.loads(Path(params["file"]).read_text())

    DingTalkGroupMessageSensor.partial(
        task_id="wait",
        open_conversation_id="cidgroup1",
        min_readers=1,
        poke_interval=20,
        timeout=6 * 3600,
        deferrable=True,
    ).expand(process_query_key=keys())


fault_sensors()
