"""Send to groups in mapped tasks and recall the messages by receipt."""

from __future__ import annotations

from airflow.sdk import dag

from airflow_provider_dingtalk.operators import (
    DingTalkRecallGroupMessagesOperator,
    DingTalkSendGroupMessageOperator,
)


@dag(schedule=None, tags=["dingtalk"])
def dingtalk_recall_group_messages():
    sent = DingTalkSendGroupMessageOperator.partial(task_id="send", text="The build is green.").expand(
        open_conversation_id=["cidgroup1", "cidgroup2", "cidgroup3"]
    )
    # The XCom of a mapped task is a list of lists of receipts, which the operator accepts.
    DingTalkRecallGroupMessagesOperator(task_id="recall", receipts=sent.output)


dingtalk_recall_group_messages()
