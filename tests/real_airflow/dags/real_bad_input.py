"""DAG whose tasks get input that is invalid, which only the run finds; nothing may be sent or retried."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from airflow.sdk import dag

from airflow_provider_dingtalk.operators import (
    DingTalkRecallDingOperator,
    DingTalkRecallGroupMessagesOperator,
    DingTalkRecallOTOMessagesOperator,
    DingTalkRecallWorkNotificationOperator,
    DingTalkRollbackOperator,
    DingTalkSendGroupMessageOperator,
)
from airflow_provider_dingtalk.sensors import DingTalkPrivateChatMessageSensor

OTO = {"kind": "oto", "robot_code": "dingsandbox", "process_query_key": "key1"}
TOO_DEEP: list = [OTO]
for _ in range(9):
    TOO_DEEP = [TOO_DEEP]


def late(value: Any) -> str:
    """Return a template, so that the parse does not know the value."""
    return "{{ '' }}" + (value if isinstance(value, str) else json.dumps(value))


@dag(schedule=None, default_args={"retries": 2, "retry_delay": timedelta(seconds=0)})
def real_bad_input():
    DingTalkRecallOTOMessagesOperator(task_id="key_is_none", process_query_keys=late(["key1", None]))
    DingTalkRecallOTOMessagesOperator(task_id="keys_are_a_word", process_query_keys=late("key1"))
    DingTalkRecallOTOMessagesOperator(task_id="keys_are_a_dict", process_query_keys=late({"key1": 1}))
    DingTalkRecallOTOMessagesOperator(task_id="key_is_blank", process_query_keys=late(["key1", " "]))
    DingTalkRecallDingOperator(task_id="key_is_a_number", open_ding_ids=late([7]))
    DingTalkRecallWorkNotificationOperator(task_id="task_id_is_a_word", msg_task_id=late("seven"))
    DingTalkRecallGroupMessagesOperator(task_id="no_conversation", process_query_keys=late(["key1"]))
    DingTalkRecallGroupMessagesOperator(task_id="another_kind", receipts=late([OTO]))
    DingTalkRollbackOperator(task_id="unknown_kind", receipts=late([OTO, OTO | {"kind": "fax"}]))
    DingTalkRollbackOperator(task_id="half_a_receipt", receipts=late([{"kind": "oto", "process_query_key": "key1"}]))
    DingTalkRollbackOperator(task_id="too_deep", receipts=late(TOO_DEEP))
    DingTalkRollbackOperator(task_id="no_connection", receipts=[OTO], dingtalk_conn_id="dingtalk_nowhere")
    DingTalkRollbackOperator(task_id="no_secret", receipts=[OTO], dingtalk_conn_id="dingtalk_without_secret")
    DingTalkSendGroupMessageOperator(
        task_id="no_robot",
        open_conversation_id="cidgroup1",
        text="Hello",
        dingtalk_conn_id="dingtalk_without_robot",
    )
    DingTalkSendGroupMessageOperator(task_id="no_text", open_conversation_id="cidgroup1", text=late(""))
    DingTalkPrivateChatMessageSensor(
        task_id="no_key", open_conversation_id="cidprivate1", process_query_key="None", deferrable=True
    )


real_bad_input()
