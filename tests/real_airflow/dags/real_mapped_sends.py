"""Mapped sends, one that is skipped, and a rollback of all of them; and a mapped recall."""

from __future__ import annotations

from airflow.sdk import dag, task

from airflow_provider_dingtalk.operators import (
    DingTalkRecallOTOMessagesOperator,
    DingTalkRollbackOperator,
    DingTalkSendGroupMessageOperator,
    DingTalkSendOTOMessagesOperator,
)
from airflow_provider_dingtalk.version_compat import AirflowSkipException


@dag(schedule=None, params={"conversations": ["cidgroup1", "cidgroup2", "cidgroup3"]})
def real_mapped_sends():
    @task
    def conversations(params: dict) -> list[str]:
        return params["conversations"]

    @task
    def not_today() -> None:
        raise AirflowSkipException("There is nothing to tell today.")

    mapped = DingTalkSendGroupMessageOperator.partial(task_id="send", text="One of many.").expand(
        open_conversation_id=conversations()
    )
    skipped = DingTalkSendGroupMessageOperator(task_id="skipped", open_conversation_id="cidgroup1", text="None.")
    not_today() >> skipped
    DingTalkRollbackOperator(
        task_id="by_receipts", receipts=[mapped.output, skipped.output], trigger_rule="none_failed"
    )
    by_task = DingTalkRollbackOperator(
        task_id="by_task", from_tasks=["send", "skipped"], trigger_rule="all_done", only_if_failed=True
    )
    [mapped, skipped] >> by_task

    people = DingTalkSendOTOMessagesOperator(
        task_id="send_to_people", user_ids=["user001", "user002"], one_receipt_per_user=True, text="To one."
    )
    DingTalkRecallOTOMessagesOperator.partial(task_id="recall_each").expand(receipts=people.output)


real_mapped_sends()
