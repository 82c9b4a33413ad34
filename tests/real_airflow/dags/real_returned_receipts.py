"""Receipts that tasks of a block return, as older versions and other programs do."""

from __future__ import annotations

from airflow.sdk import dag, task

from airflow_provider_dingtalk.operators import rollback_on_failure
from airflow_provider_dingtalk.version_compat import AirflowFailException


@dag(schedule=None, params={"keys": ["a", "b", "c"]})
def real_returned_receipts():
    def receipt(key: str) -> dict:
        return {
            "version": 1,
            "kind": "group",
            "robot_code": "dingsandbox",
            "open_conversation_id": "cidgroup1",
            "process_query_key": key,
        }

    @task
    def nested(params: dict) -> dict:
        return {"note": "sent", "deep": {"list": [[receipt(params["keys"][0])], None]}}

    @task(multiple_outputs=True)
    def several(params: dict) -> dict:
        return {"first": receipt(params["keys"][1]), "second": 2}

    @task
    async def asynchronous(params: dict) -> list[dict]:
        return [receipt(params["keys"][2])]

    @task
    def stranger() -> dict:
        """Return a dictionary that only looks like a receipt."""
        return {**receipt("bad\nkey"), "receipts": 3}

    @task
    def work() -> None:
        raise AirflowFailException("The numbers are wrong.")

    with rollback_on_failure():
        [nested(), several(), asynchronous(), stranger()] >> work()


real_returned_receipts()
