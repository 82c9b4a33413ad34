"""A message to many people, one receipt each, beside a plain loop of the official SDK.

Both read the people from a file when they are parsed, so neither spends time on XComs.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from airflow.sdk import dag, task

from airflow_provider_dingtalk.operators import DingTalkSendOTOMessagesOperator

GIVEN: dict[str, Any] = json.loads(Path(os.environ["BENCH_SENDS"]).read_text())


@dag(schedule=None)
def bench_send():
    DingTalkSendOTOMessagesOperator(
        task_id="send", user_ids=GIVEN["people"], one_receipt_per_user=True, text="hello", do_xcom_push=False
    )


@dag(schedule=None)
def bench_send_sdk():
    @task
    def send() -> None:
        from alibabacloud_dingtalk.robot_1_0 import models
        from alibabacloud_dingtalk.robot_1_0.client import Client
        from alibabacloud_tea_openapi.models import Config
        from alibabacloud_tea_util.models import RuntimeOptions

        client = Client(Config(protocol="http", endpoint=GIVEN["host"]))
        headers = models.BatchSendOTOHeaders(x_acs_dingtalk_access_token=GIVEN["token"])
        for person in GIVEN["people"]:
            request = models.BatchSendOTORequest(
                robot_code=GIVEN["robot_code"],
                user_ids=[person],
                msg_key="sampleText",
                msg_param=json.dumps({"content": "hello"}),
            )
            client.batch_send_otowith_options(request, headers, RuntimeOptions())

    send()


bench_send()
bench_send_sdk()
