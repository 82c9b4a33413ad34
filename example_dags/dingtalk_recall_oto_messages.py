"""Send one-on-one messages and recall the message of one user by key."""

from __future__ import annotations

from airflow.sdk import dag, task

from airflow_provider_dingtalk.operators import DingTalkRecallOTOMessagesOperator, DingTalkSendOTOMessagesOperator


@dag(schedule=None, tags=["dingtalk"])
def dingtalk_recall_oto_messages():
    sent = DingTalkSendOTOMessagesOperator(
        task_id="send", user_ids=["user001", "user002"], one_receipt_per_user=True, text="Your quota is used up."
    )

    @task
    def only_the_second(receipts: list[dict]) -> list[str]:
        return [receipts[1]["process_query_key"]]

    DingTalkRecallOTOMessagesOperator(task_id="recall", process_query_keys=only_the_second(sent.output))


dingtalk_recall_oto_messages()
