"""The hook on an event loop that a task runs itself, with a connection that only Airflow's database has."""

from __future__ import annotations

import asyncio

from airflow.sdk import dag, task

from airflow_provider_dingtalk.hooks import DingTalkHook


async def send_and_recall() -> dict:
    hook = DingTalkHook("dingtalk_in_database")
    receipts = await hook.asend("oto", user_ids=["user001"], text="From a loop of one's own.")
    return {"receipts": receipts, "report": await hook.arecall(receipts)}


@dag(schedule=None)
def real_hook_on_own_loop():
    @task
    def own_loop() -> dict:
        return asyncio.run(send_and_recall())

    own_loop()


real_hook_on_own_loop()
