"""Uses of the public operators, sensors and notifier that a type checker must accept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import assert_type

from airflow.sdk import DAG, XComArg

from airflow_provider_dingtalk.notifications import DingTalkNotifier
from airflow_provider_dingtalk.operators import (
    DingTalkRecallDingOperator,
    DingTalkRecallGroupMessagesOperator,
    DingTalkRecallOTOMessagesOperator,
    DingTalkRecallPrivateChatMessagesOperator,
    DingTalkRecallWorkNotificationOperator,
    DingTalkRollbackOperator,
    DingTalkSendDingOperator,
    DingTalkSendGroupMessageOperator,
    DingTalkSendOTOMessagesOperator,
    DingTalkSendPrivateChatMessageOperator,
    DingTalkSendWorkNotificationOperator,
    DingTalkSweepOperator,
    rollback_on_failure,
)
from airflow_provider_dingtalk.sensors import (
    DingTalkGroupMessageSensor,
    DingTalkOTOMessageSensor,
    DingTalkPrivateChatMessageSensor,
    DingTalkWorkNotificationSensor,
)


def sends(xcom: XComArg) -> None:
    """All send operators, with texts, XComs and Airflow's arguments."""
    group = DingTalkSendGroupMessageOperator(
        task_id="group",
        open_conversation_id=["cid1", "cid2"],
        markdown="## {{ ds }}",
        title="title",
        cool_app_code="app",
        robot_code="robot",
        dingtalk_conn_id="mine",
        on_unknown_send="skip",
        retries=3,
        retry_delay=timedelta(minutes=1),
        on_failure_callback=[DingTalkNotifier(to={"user_ids": ["user001"]}, kind="oto", text="failed")],
        doc_md="documentation",
    )
    assert_type(group, DingTalkSendGroupMessageOperator)
    assert_type(group.dingtalk_conn_id, str)
    oto = DingTalkSendOTOMessagesOperator(task_id="oto", user_ids=xcom, text=xcom, one_receipt_per_user="{{ x }}")
    assert_type(oto, DingTalkSendOTOMessagesOperator)
    DingTalkSendOTOMessagesOperator(task_id="t", user_ids=["u"], msg_key="sampleText", msg_param={"content": "x"})
    DingTalkSendPrivateChatMessageOperator(task_id="chat", open_conversation_id="cid", cool_app_code="app", text="x")
    DingTalkSendWorkNotificationOperator(task_id="work", user_ids=("u",), dept_ids=[1, 2], agent_id=5, text="x")
    DingTalkSendWorkNotificationOperator(task_id="work", to_all_user=True, msg={"msgtype": "text"})
    DingTalkSendDingOperator(task_id="ding", user_ids=["u"], text="x", remind_type="sms")
    DingTalkSendDingOperator(task_id="ding", user_ids=["u"], content="x")
    DingTalkSendGroupMessageOperator.partial(task_id="many", text="x").expand(open_conversation_id=["cid1"])


def recalls(send: DingTalkSendOTOMessagesOperator, xcom: XComArg) -> None:
    """All recall operators, by keys and by receipts."""
    DingTalkRecallGroupMessagesOperator(task_id="t", process_query_keys=["k"], open_conversation_id="cid")
    DingTalkRecallOTOMessagesOperator(task_id="t", receipts=send.output, fail_on={"failed"}, on_empty="skip")
    DingTalkRecallPrivateChatMessagesOperator(task_id="t", receipts=[{"kind": "private_chat"}], robot_code="robot")
    DingTalkRecallWorkNotificationOperator(task_id="t", msg_task_id=123, agent_id="5", pool="small")
    recall = DingTalkRecallDingOperator(task_id="t", open_ding_ids=xcom)
    assert_type(recall, DingTalkRecallDingOperator)


def rollbacks(dag: DAG) -> None:
    """Rollbacks of all forms."""
    DingTalkRollbackOperator(task_id="t", from_tasks="send", only_if_failed=["check"], max_messages=10, dag=dag)
    DingTalkRollbackOperator(task_id="t", from_dag="other", since=datetime(2026, 1, 1, tzinfo=UTC), dry_run="{{ x }}")
    DingTalkRollbackOperator(task_id="t", from_run=["a", "b"], older_than=timedelta(hours=1), only_unread=True)
    sweep = DingTalkSweepOperator(task_id="t", dag_ids=["a"], rollbacks=["rollback"], max_readers=3, owner="we")
    assert_type(sweep, DingTalkSweepOperator)
    with rollback_on_failure(task_id="undo", dingtalk_conn_id="mine", retries=5, max_messages="9") as rollback:
        assert_type(rollback, DingTalkRollbackOperator)


def sensors(xcom: XComArg) -> None:
    """All sensors, with Airflow's arguments of sensors and operators."""
    wait = DingTalkGroupMessageSensor(
        task_id="t",
        receipts=xcom,
        min_readers=20,
        poke_interval=60,
        timeout=timedelta(hours=1),
        mode="reschedule",
        soft_fail=True,
        deferrable=False,
        dingtalk_conn_id="mine",
        trigger_rule="all_done",
    )
    assert_type(wait, DingTalkGroupMessageSensor)
    DingTalkPrivateChatMessageSensor(task_id="t", process_query_key="k", open_conversation_id="cid", robot_code="r")
    DingTalkOTOMessageSensor(task_id="t", process_query_key=xcom, min_read_share=0.5, read_by=["u"], match="any")
    DingTalkWorkNotificationSensor(task_id="t", msg_task_id="123", audience=7, on_empty="skip", push_readers=True)
