"""A block whose messages three connections sent; one of them may be gone when the rollback runs."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from airflow_provider_dingtalk.operators import DingTalkSendGroupMessageOperator, rollback_on_failure
from airflow_provider_dingtalk.version_compat import AirflowFailException


@dag(schedule=None, params={"lost": ""})
def real_rollback_connections():
    with rollback_on_failure(retries=1, retry_delay=timedelta(seconds=1)):
        sends = [
            DingTalkSendGroupMessageOperator(
                task_id=f"send_{name}",
                dingtalk_conn_id=f"dingtalk_{name}",
                open_conversation_id="cidgroup1",
                text="wrong",
            )
            for name in ("default", "other", "by_uri")
        ]

        @task
        def check(params: dict, ti=None) -> None:
            if params["lost"]:
                # A receipt of a connection that was deleted after the send.
                receipt = {
                    "version": 2,
                    "kind": "group",
                    "conn_id": "dingtalk_deleted",
                    "robot_code": "dingsandbox",
                    "open_conversation_id": "cidgroup1",
                    "process_query_key": params["lost"],
                }
                ti.xcom_push("receipts_0", [receipt])
                ti.xcom_push("receipts_count", 1)
            raise AirflowFailException("The numbers are wrong.")

        sends >> check()


real_rollback_connections()
