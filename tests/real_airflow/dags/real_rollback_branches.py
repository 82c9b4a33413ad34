"""Branches inside a block: one that chooses, one that chooses nothing, a short circuit, and one at the end."""

from __future__ import annotations

from airflow.sdk import dag, task

from airflow_provider_dingtalk.operators import DingTalkSendGroupMessageOperator, rollback_on_failure
from airflow_provider_dingtalk.version_compat import AirflowFailException


@dag(schedule=None, params={"choice": "arm", "fail": True})
def real_rollback_branches():
    @task
    def work(params: dict) -> None:
        if params["fail"]:
            raise AirflowFailException("The numbers are wrong.")

    @task.branch
    def branch(params: dict) -> str | None:
        return params["choice"]

    @task.short_circuit
    def stop() -> bool:
        return False

    @task.branch
    def last() -> None:
        return None

    @task
    def after() -> None:
        """Do nothing; the branch does not choose it."""

    with rollback_on_failure():
        send = DingTalkSendGroupMessageOperator(task_id="send", open_conversation_id="cidgroup1", text="first")
        arm = DingTalkSendGroupMessageOperator(task_id="arm", open_conversation_id="cidgroup2", text="arm")
        other = DingTalkSendGroupMessageOperator(task_id="other", open_conversation_id="cidgroup3", text="other")
        send >> branch() >> [arm, other]
        send >> stop()
        end = last()
        send >> end
        send >> work()
    end >> after()


real_rollback_branches()
