"""A block with a send, a mapped send in a task group and some work; and a message outside, which must stay."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta

from airflow.sdk import TaskGroup, dag, task

from airflow_provider_dingtalk.operators import DingTalkSendGroupMessageOperator, rollback_on_failure
from airflow_provider_dingtalk.version_compat import AirflowFailException

GROUPS = ["cidgroup1", "cidgroup2", "cidgroup3"]


@dag(schedule=None, params={"groups": GROUPS, "mapped": GROUPS, "work": "succeed", "label": "a message"})
def real_rollback():
    bystander = DingTalkSendGroupMessageOperator(
        task_id="bystander",
        open_conversation_id="cidgroup1",
        text="{{ params.label }}, not of the block",
        on_cleared_send="keep",
    )

    @task
    def targets(params: dict) -> list[str]:
        return params["mapped"]

    @task(retries=1, retry_delay=timedelta(seconds=1))
    def work(params: dict, ti=None) -> None:
        match params["work"]:
            case "fail":
                raise AirflowFailException("The numbers are wrong.")
            case "fail once" if ti.try_number == 1:
                raise ValueError("The database is away for a moment.")
            # Each clear of a task raises its max_tries.
            case "fail until cleared" if ti.max_tries == 1:
                raise AirflowFailException("The numbers are wrong, for now.")
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "wait":
                time.sleep(900)  # It is ended when the run is marked as failed.

    with rollback_on_failure(retry_delay=timedelta(seconds=1)):
        send = DingTalkSendGroupMessageOperator(
            task_id="send",
            open_conversation_id="{{ params.groups | tojson }}",
            text="{{ params.label }}",
            on_cleared_send="resend",
        )
        with TaskGroup("more"):
            mapped = DingTalkSendGroupMessageOperator.partial(
                task_id="send", text="{{ params.label }}", on_cleared_send="resend"
            ).expand(open_conversation_id=targets())
        bystander >> mapped >> send >> work()


real_rollback()
