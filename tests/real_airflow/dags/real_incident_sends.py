"""DAG without a rollback, in which half of a mapped send fails."""

from __future__ import annotations

from airflow.sdk import dag

from airflow_provider_dingtalk.operators import DingTalkSendGroupMessageOperator, DingTalkSendOTOMessagesOperator


@dag(schedule=None)
def real_incident_sends():
    DingTalkSendGroupMessageOperator.partial(task_id="send", text="To groups.").expand(
        open_conversation_id=["cidgroup1", "cidnowhere", "cidgroup3"]
    )
    DingTalkSendOTOMessagesOperator(
        task_id="send_to_people",
        user_ids=[f"user{number:03}" for number in range(1, 46)],
        one_receipt_per_user=True,
        text="To people.",
    )


real_incident_sends()
