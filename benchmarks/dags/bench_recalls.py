"""One recall in three ways, beside a task that does nothing.

The ways are one task, one task without a checkpoint, and a mapped task for every 20 keys. All three read the keys
from a file when they are parsed, so none spends time on XComs.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from airflow.sdk import dag, task

from airflow_provider_dingtalk.operators import DingTalkRecallOTOMessagesOperator

GIVEN: dict[str, Any] = json.loads(Path(os.environ["BENCH_RECALLS"]).read_text())


@dag(schedule=None)
def bench_one_task():
    DingTalkRecallOTOMessagesOperator(task_id="recall", process_query_keys=GIVEN["one_task"])


@dag(schedule=None)
def bench_no_checkpoint():
    @task
    def recall() -> int:
        from airflow_provider_dingtalk.hooks import DingTalkHook

        sender = {"kind": "oto", "robot_code": GIVEN["robot_code"]}
        report = DingTalkHook().recall([{**sender, "process_query_key": key} for key in GIVEN["no_checkpoint"]])
        return report["counts"]["recalled"]

    recall()


@dag(schedule=None)
def bench_trivial():
    @task
    def nothing() -> None: ...

    nothing()


@dag(schedule=None, max_active_tasks=8)
def bench_mapped():
    @task
    def recall(keys: list[str]) -> None:
        import requests

        body = {"robotCode": GIVEN["robot_code"], "processQueryKeys": keys}
        headers = {"x-acs-dingtalk-access-token": GIVEN["token"]}
        url = f"{GIVEN['url']}/v1.0/robot/otoMessages/batchRecall"
        requests.post(url, json=body, headers=headers, timeout=30).raise_for_status()

    keys = GIVEN["mapped"]
    recall.expand(keys=[keys[at : at + 20] for at in range(0, len(keys), 20)])


bench_one_task()
bench_no_checkpoint()
bench_trivial()
bench_mapped()
