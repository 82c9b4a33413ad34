"""A send to many people, one by one, that is killed; then the rollback of its block, whether it goes on or not."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from airflow_provider_dingtalk.operators import DingTalkSendOTOMessagesOperator, rollback_on_failure
from airflow_provider_dingtalk.version_compat import AirflowFailException


@dag(
    schedule=None,
    params={"users": 10, "text": "hello"},
    user_defined_macros={"people": lambda count: [f"user{number:03d}" for number in range(1, count + 1)]},
)
def fault_send_block():
    # Airflow 3.3 goes on after the kill, and the send may succeed.
    @task
    def fail() -> None:
        raise AirflowFailException("The block fails in any case.")

    with rollback_on_failure(retry_delay=timedelta(seconds=1)):
        send = DingTalkSendOTOMessagesOperator(
            task_id="send",
            user_ids="{{ people(params.users) | tojson }}",
            text="{{ params.text }}",
            one_receipt_per_user=True,
            # Below Airflow 3.3 a send drops them.
            retries=3,
            retry_delay=timedelta(seconds=1),
        )
        send >> fail()


fault_send_block()
