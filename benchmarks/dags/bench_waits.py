"""2,000 mapped sensors that no worker takes: their pool has no slot. They are put to wait by hand."""

from __future__ import annotations

import os

from airflow.sdk import dag

from airflow_provider_dingtalk.sensors import DingTalkOTOMessageSensor

POOL = "nobody"


@dag(schedule=None)
def bench_waits():
    numbers = [f"key{number}" for number in range(int(os.environ["BENCH_WAITS"]))]
    DingTalkOTOMessageSensor.partial(task_id="wait", deferrable=True, pool=POOL).expand(process_query_key=numbers)


bench_waits()
