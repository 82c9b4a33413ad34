"""Recalls, sends and rollback blocks, each on one worker's queue, without and with retries."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_dingtalk.operators import (
    DingTalkRecallGroupMessagesOperator,
    DingTalkSendOTOMessagesOperator,
    rollback_on_failure,
)

HOSTS = ("worker-1", "worker-2")
#: Seconds until a retry, by the number of retries. A minute lets a cut of 90 s end before the retry: Airflow ends the
#: task after about 40 s, and the retry runs on the same host.
RETRY_DELAYS = {0: 1, 1: 60, 2: 1}


def content_of(file: str) -> str:
    """Read a file with a JSON list of keys."""
    return Path(file).read_text()


def people(count: int) -> list[str]:
    """Return ids of people of the sandbox."""
    return [f"user{number:03d}" for number in range(1, count + 1)]


def dag(name: str, host: str, retries: int, **params: object) -> DAG:
    """Return a DAG whose tasks run on one host."""
    return DAG(
        f"{name}_{retries}_{host}",
        schedule=None,
        params={"gate": "", **params},
        default_args={"queue": host, "retries": retries, "retry_delay": timedelta(seconds=RETRY_DELAYS[retries])},
        user_defined_macros={"content_of": content_of, "people": people},
    )


def wait_at_gate(context: Any) -> None:
    """Wait until the test opens the gate: Airflow starts tasks seconds apart, and all of them meet one fault."""
    gate = Path(context["params"]["gate"])
    gate.with_suffix(".reached").touch()
    for _ in range(30_000):
        if gate.exists():
            return
        time.sleep(0.01)
    raise TimeoutError("the gate stayed shut for five minutes")


def send(host: str) -> DingTalkSendOTOMessagesOperator:
    """Return a send to people, one by one."""
    return DingTalkSendOTOMessagesOperator(
        task_id="send",
        user_ids="{{ people(params.people) | tojson }}",
        text="{{ params.text }}",
        one_receipt_per_user=True,
        dingtalk_conn_id=f"{host}-send",
        pre_execute=wait_at_gate,
    )


for host in HOSTS:
    for retries in RETRY_DELAYS:
        with dag("recall", host, retries, file="") as recalls:
            DingTalkRecallGroupMessagesOperator(
                task_id="recall",
                process_query_keys="{{ content_of(params.file) }}",
                open_conversation_id="cidgroup1",
                dingtalk_conn_id=f"{host}-recall",
                pre_execute=wait_at_gate,
            )
        with dag("send", host, retries, people=1, text="") as sends:
            send(host)
    with dag("sent_block", host, 0, people=1, text="") as sent_blocks, rollback_on_failure(queue="default"):

        @task
        def works() -> None:
            """Work until the worker is killed."""
            time.sleep(600)

        send(host) >> works()
    # The last DAG of the file is waited for.
    with dag("block", host, 0, people=1, text="") as blocks, rollback_on_failure(queue="default"):

        @task
        def fails() -> None:
            """End the block in a failure."""
            raise ValueError("the messages are wrong")

        send(host) >> fails()
