"""The hook in sync and async tasks; a connection as a URI; nothing to recall."""

from __future__ import annotations

import logging

from airflow.sdk import dag, task

from airflow_provider_dingtalk.client.endpoints import GetAccessToken
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.operators import DingTalkRollbackOperator

log = logging.getLogger(__name__)


@dag(schedule=None)
def real_hook():
    @task
    def sync() -> dict:
        hook = DingTalkHook()
        receipts = hook.send("group", open_conversation_id=["cidgroup1", "cidgroup2"], text="From a task.")
        before = [reading.send_status for reading in hook.status(receipts)]
        report = hook.recall(receipts)
        after = [reading.send_status for reading in hook.status(receipts, readers=False)]
        return {"receipts": receipts, "before": before, "report": report, "after": after}

    @task
    async def asynchronous() -> dict:
        hook = DingTalkHook(dingtalk_conn_id="dingtalk_by_uri")
        receipts = await hook.asend("oto", user_ids=["user001"], text="From an async task.")
        before = [reading.send_status for reading in await hook.astatus(receipts)]
        return {"receipts": receipts, "before": before, "report": await hook.arecall(receipts)}

    @task
    def by_uri() -> dict:
        hook = DingTalkHook(dingtalk_conn_id="dingtalk_by_uri")
        ok, told = hook.test_connection()
        receipts = hook.send("work_notification", user_ids=["user001"], text="By URI.")
        return {"ok": ok, "told": told, "receipts": receipts, "report": hook.recall(receipts)}

    @task
    def indiscreet() -> None:
        """Log secrets, as a careless user may."""
        hook = DingTalkHook()
        connection = hook.get_connection(hook.dingtalk_conn_id)
        # DingTalk returns the same token until it expires.
        hook.test_connection()
        token = hook.call(GetAccessToken(app_key=connection.login, app_secret=connection.password))
        log.info("The secret is %s, the token is %s.", connection.password, token.access_token)

    sync(), asynchronous(), by_uri(), indiscreet()
    for choice in ("succeed", "skip", "fail"):
        DingTalkRollbackOperator(task_id=f"on_empty_{choice}", receipts=["None", None, []], on_empty=choice)


real_hook()
