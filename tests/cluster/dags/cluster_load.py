"""Recalls and sends at full speed, sensors, and many runs; ``shared`` is the connection of both hosts."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.operators import (
    DingTalkRecallOTOMessagesOperator,
    DingTalkRollbackOperator,
    DingTalkSendOTOMessagesOperator,
)
from airflow_provider_dingtalk.sensors import DingTalkOTOMessageSensor
from airflow_provider_dingtalk.version_compat import dag_run as read_dag_run

RETRIED = {"retries": 2, "retry_delay": timedelta(seconds=1), "dingtalk_conn_id": "shared"}
MACROS = {
    "content_of": lambda file: Path(file).read_text(),
    "people": lambda count: [f"user{number:03d}" for number in range(1, count + 1)],
}


def dag(name: str, **params: object) -> DAG:
    """Return a DAG that runs when it is triggered."""
    return DAG(name, schedule=None, params=params, default_args=RETRIED, user_defined_macros=MACROS)


def send(host: str) -> DingTalkSendOTOMessagesOperator:
    """Return a send to people, one by one, from one host."""
    return DingTalkSendOTOMessagesOperator(
        task_id="send",
        user_ids="{{ people(params.people) | tojson }}",
        text="{{ params.text }}",
        one_receipt_per_user=True,
        queue=host,
    )


def wait_for_others(context: Any) -> None:
    """Wait until all recalls of a run are ready, so that none has the rate to itself.

    The first call of a process takes long, because it loads modules, so each gets a token before.
    """
    DingTalkHook("shared").test_connection()
    keys = Path(context["params"]["files"][0])
    keys.with_suffix(f".{context['ti'].task_id}").touch()
    for _ in range(6_000):
        if len(list(keys.parent.glob(f"{keys.stem}.recall_*"))) == len(context["params"]["files"]):
            return
        time.sleep(0.01)
    raise TimeoutError("not all recalls began within a minute")


def time_requests(context: Any, when: str) -> None:
    """Push the milliseconds of one request to the API server, as the mean of 100."""
    began = time.perf_counter()
    for _ in range(100):
        read_dag_run(context["dag"].dag_id, context["run_id"])
    context["ti"].xcom_push(key=f"request_ms_{when}", value=(time.perf_counter() - began) * 1000 / 100)


with dag("four_recalls", files=[""] * 4):
    for number, host in enumerate(("worker-1", "worker-1", "worker-2", "worker-2")):
        DingTalkRecallOTOMessagesOperator(
            task_id=f"recall_{number}",
            process_query_keys=f"{{{{ content_of(params.files[{number}]) }}}}",
            pre_execute=wait_for_others,
            queue=host,
        )

with dag("full_send", people=1, text="full speed"):
    send("worker-1")

for host in ("worker-1", "worker-2"):
    with dag(f"since_{host}", dag="", since=""):
        DingTalkRollbackOperator(
            task_id="rollback",
            from_dag="{{ params.dag }}",
            since="{{ params.since }}",
            queue=host,
            pre_execute=lambda context: time_requests(context, "before"),
            post_execute=lambda context, result: time_requests(context, "after"),
        )

    with dag(f"sensors_{host}", file=""):

        @task(retries=0, queue=host)
        def keys(params: dict) -> list[str]:
            """Return the keys that the sensors wait for."""
            return json.loads(Path(params["file"]).read_text())

        DingTalkOTOMessageSensor.partial(
            task_id="wait",
            min_readers=1,
            poke_interval=20,
            timeout=1800,
            deferrable=True,
            dingtalk_conn_id=host,
            queue=host,
        ).expand(process_query_key=keys())
