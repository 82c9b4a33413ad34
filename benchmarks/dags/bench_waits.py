"""2,000 mapped sensors whose pool has no slots, so no worker runs them.

:mod:`benchmarks.triggerer_rows` defers them in the database.
"""

from __future__ import annotations

import os

from airflow.sdk import dag

from airflow_provider_dingtalk.sensors import DingTalkOTOMessageSensor

POOL = "unused"


@dag(schedule=None)
def bench_waits():
    numbers = [f"key{number}" for number in range(int(os.environ["BENCH_WAITS"]))]
    DingTalkOTOMessageSensor.partial(task_id="wait", deferrable=True, pool=POOL).expand(process_query_key=numbers)


bench_waits()
