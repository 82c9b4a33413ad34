"""The private-chat sensor in its three modes, waiting for each of its ends; the other kinds in short."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag

from airflow_provider_dingtalk.sensors import (
    DingTalkGroupMessageSensor,
    DingTalkOTOMessageSensor,
    DingTalkPrivateChatMessageSensor,
    DingTalkWorkNotificationSensor,
)

MODES = {
    "poke": {"mode": "poke", "deferrable": False},
    "reschedule": {"mode": "reschedule", "deferrable": False, "poke_interval": 8},
    "deferred": {"deferrable": True},
}
KEYS = dict.fromkeys(("crowd", "recalled", "unread", "group", "oto", "work", "private_chat"), "")


# Airflow 3.3.2 fails a task that resumes before its scheduler has read the end of the poll before, so the interval
# above is long and there is a retry. A sensor that times out is never retried.
ARGS = {"poke_interval": 1, "timeout": 60, "retries": 1, "retry_delay": timedelta(seconds=0)}


@dag(schedule=None, params={**KEYS, "min_readers": 201}, default_args=ARGS)
def real_sensors():
    for name, mode in MODES.items():
        chat = {"open_conversation_id": "cidprivate1", **mode}
        crowd = {"process_query_key": "{{ params.crowd }}", "min_readers": "{{ params.min_readers }}"}
        DingTalkPrivateChatMessageSensor(task_id=f"crowd_{name}", **crowd, **chat)
        DingTalkPrivateChatMessageSensor(task_id=f"crowd_named_{name}", push_readers=True, **crowd, **chat)
        recalled = {"process_query_key": "{{ params.recalled }}", "retries": 2}
        DingTalkPrivateChatMessageSensor(task_id=f"recalled_{name}", **recalled, **chat)
        DingTalkPrivateChatMessageSensor(task_id=f"recalled_soft_{name}", soft_fail=True, **recalled, **chat)
        DingTalkPrivateChatMessageSensor(
            task_id=f"unread_{name}",
            process_query_key="{{ params.unread }}",
            min_readers=1,
            **{**chat, "timeout": 6},
        )
    DingTalkPrivateChatMessageSensor(
        task_id="recalled_wanted",
        process_query_key="{{ params.recalled }}",
        open_conversation_id="cidprivate1",
        send_statuses={"RECALLED"},
    )
    DingTalkGroupMessageSensor(
        task_id="group",
        process_query_key="{{ params.group }}",
        open_conversation_id="cidgroup1",
        read_by=["user002", "user003"],
    )
    DingTalkOTOMessageSensor(task_id="oto", process_query_key="{{ params.oto }}", min_readers=1, deferrable=True)
    for name, mode in MODES.items():
        DingTalkWorkNotificationSensor(
            task_id=f"work_{name}", msg_task_id="{{ params.work }}", min_read_share="0.5", **mode
        )


real_sensors()
