"""Send messages of every kind and recall them if a check fails.

Put the tasks that send and work into ``with rollback_on_failure():``. Its rollback task recalls messages if a send
failed after it had sent some, or if another task of the block failed. If no task failed it recalls nothing. A
failed run stays failed.
"""

from __future__ import annotations

from airflow.sdk import Param, dag, task

from airflow_provider_dingtalk.operators import (
    DingTalkSendDingOperator,
    DingTalkSendGroupMessageOperator,
    DingTalkSendOTOMessagesOperator,
    DingTalkSendPrivateChatMessageOperator,
    DingTalkSendWorkNotificationOperator,
    rollback_on_failure,
)

PEOPLE = [f"user{number:03}" for number in range(1, 46)]
REPORT = "## Revenue, yesterday\n\n**{{ params.revenue }}** million"


@dag(
    schedule=None,
    tags=["dingtalk"],
    params={"revenue": Param(-42, type="integer", description="Negative: the quality check fails.")},
)
def dingtalk_rollback_on_failure():
    with rollback_on_failure():
        groups = DingTalkSendGroupMessageOperator(
            task_id="send_to_groups",
            open_conversation_id=["cidgroup1", "cidgroup2", "cidgroup3"],
            markdown=REPORT,
        )
        people = DingTalkSendOTOMessagesOperator(
            task_id="send_to_people", user_ids=PEOPLE, one_receipt_per_user=True, markdown=REPORT
        )
        chat = DingTalkSendPrivateChatMessageOperator(
            task_id="send_to_private_chat",
            open_conversation_id="cidprivate1",
            cool_app_code="COOLAPP-1",
            markdown=REPORT,
        )
        notification = DingTalkSendWorkNotificationOperator(
            task_id="send_work_notification",
            user_ids=PEOPLE[:3],
            text="Revenue, yesterday: {{ params.revenue }} million",
        )
        ding = DingTalkSendDingOperator(
            task_id="send_ding",
            user_ids=PEOPLE[:2],
            text="The revenue report is out: {{ params.revenue }} million.",
        )

        @task
        def check_the_numbers(params: dict):
            if params["revenue"] < 0:
                raise ValueError("Revenue cannot be negative: the messages are wrong.")

        [groups, people, chat, notification, ding] >> check_the_numbers()


dingtalk_rollback_on_failure()
