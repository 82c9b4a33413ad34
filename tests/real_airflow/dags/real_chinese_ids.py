"""DAG with Chinese ids, and a second DAG in the same file."""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, dag, task

from airflow_provider_dingtalk.operators import DingTalkSendGroupMessageOperator, rollback_on_failure
from airflow_provider_dingtalk.version_compat import AirflowFailException

with DAG("每日营收", schedule=None, params={"work": "succeed", "text": "营收"}):

    @task(task_id="核对")
    def check(params: dict) -> None:
        if params["work"] == "fail":
            raise AirflowFailException("数字不对。")

    # The name ends like an instance of a mapped task, with a digit that is not ASCII.
    outside = DingTalkSendGroupMessageOperator(
        task_id="块外_²", open_conversation_id="cidgroup3", text="{{ params.text }}，块外"
    )
    with rollback_on_failure(task_id="撤回"), TaskGroup("group"):
        send = DingTalkSendGroupMessageOperator(
            task_id="发送", open_conversation_id=["cidgroup1", "cidgroup2"], text="{{ params.text }}"
        )
        mapped = DingTalkSendGroupMessageOperator.partial(task_id="每群", text="{{ params.text }}").expand(
            open_conversation_id=["cidgroup1", "cidgroup3"]
        )
        outside >> send >> mapped >> check()


@dag(schedule=None)
def real_chinese_ids():
    EmptyOperator(task_id="neighbour")


real_chinese_ids()
