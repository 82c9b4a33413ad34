"""Uses that a type checker must refuse; mypy reports a ``type: ignore`` comment that nothing needs."""

from __future__ import annotations

from airflow_provider_dingtalk.notifications import DingTalkNotifier
from airflow_provider_dingtalk.operators import (
    DingTalkRecallDingOperator,
    DingTalkRecallGroupMessagesOperator,
    DingTalkRecallOTOMessagesOperator,
    DingTalkRollbackOperator,
    DingTalkSendDingOperator,
    DingTalkSendGroupMessageOperator,
    DingTalkSendOTOMessagesOperator,
    DingTalkSendPrivateChatMessageOperator,
    DingTalkSendWorkNotificationOperator,
    DingTalkSweepOperator,
    rollback_on_failure,
)
from airflow_provider_dingtalk.sensors import DingTalkGroupMessageSensor, DingTalkWorkNotificationSensor


def wrong_names() -> None:
    """Arguments that are missing, misspelt, or of another operator."""
    DingTalkSendGroupMessageOperator(task_id="t", open_conversation_id="cid", texte="x")  # type: ignore[call-arg]
    DingTalkSendGroupMessageOperator(task_id="t", text="x")  # type: ignore[call-arg]
    DingTalkSendGroupMessageOperator(open_conversation_id="cid", text="x")  # type: ignore[call-arg]
    DingTalkSendGroupMessageOperator(task_id="t", open_conversation_id="cid", retrys=3)  # type: ignore[call-arg]
    DingTalkSendOTOMessagesOperator(task_id="t", user_ids="u", dingtalk_connection="x")  # type: ignore[call-arg]
    DingTalkSendPrivateChatMessageOperator(task_id="t", open_conversation_id="cid", text="x")  # type: ignore[call-arg]
    DingTalkSendWorkNotificationOperator(task_id="t", user_ids="u", msg_key="x")  # type: ignore[call-arg]
    DingTalkSendDingOperator(task_id="t", user_ids="u", markdown="x")  # type: ignore[call-arg]
    DingTalkRecallOTOMessagesOperator(task_id="t", open_conversation_id="cid")  # type: ignore[call-arg]
    DingTalkRecallDingOperator(task_id="t", process_query_keys=["k"])  # type: ignore[call-arg]
    DingTalkRollbackOperator(task_id="t", from_task="send")  # type: ignore[call-arg]
    DingTalkSweepOperator(task_id="t", dag_ids=["d"], receipts=[])  # type: ignore[call-arg]
    DingTalkGroupMessageSensor(task_id="t", min_reader=1)  # type: ignore[call-arg]
    DingTalkWorkNotificationSensor(task_id="t", process_query_key="k")  # type: ignore[call-arg]
    DingTalkNotifier(to={}, kinds="group")  # type: ignore[call-arg]
    with rollback_on_failure(from_tasks=["send"]):  # type: ignore[call-arg]
        pass


def wrong_types() -> None:
    """Values of a wrong type, also for Airflow's arguments."""
    DingTalkSendGroupMessageOperator(task_id="t", open_conversation_id="cid", text=5)  # type: ignore[arg-type]
    DingTalkSendGroupMessageOperator(task_id="t", open_conversation_id=5, text="x")  # type: ignore[arg-type]
    DingTalkSendOTOMessagesOperator(task_id="t", user_ids="u", retries="3")  # type: ignore[arg-type]
    DingTalkSendOTOMessagesOperator(task_id="t", user_ids="u", on_unknown_send="no")  # type: ignore[arg-type]
    DingTalkSendOTOMessagesOperator(task_id=5, user_ids="u")  # type: ignore[arg-type]
    DingTalkRecallGroupMessagesOperator(task_id="t", process_query_keys=5)  # type: ignore[arg-type]
    DingTalkRecallGroupMessagesOperator(task_id="t", receipts=5)  # type: ignore[arg-type]
    DingTalkRollbackOperator(task_id="t", on_empty="ignore")  # type: ignore[arg-type]
    DingTalkRollbackOperator(task_id="t", max_messages=[])  # type: ignore[arg-type]
    DingTalkGroupMessageSensor(task_id="t", min_readers=None)  # type: ignore[arg-type]
    DingTalkGroupMessageSensor(task_id="t", mode="poll")  # type: ignore[arg-type]
    DingTalkNotifier(to={}, kind="sms")  # type: ignore[arg-type]
    with rollback_on_failure(dingtalk_conn_id=5):  # type: ignore[arg-type]
        pass
