"""Tasks that write most texts: they fail, retry, wait in the triggerer and notify."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task
from airflow.sdk.log import mask_secret

from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.notifications import DingTalkNotifier
from airflow_provider_dingtalk.operators import DingTalkRecallOTOMessagesOperator, DingTalkSendGroupMessageOperator
from airflow_provider_dingtalk.sensors import DingTalkGroupMessageSensor

CHAT = {"open_conversation_id": "cidgroup1"}
HIDDEN = "password-of-a-warehouse"


@dag(schedule=None, params={"awaited": ""}, on_failure_callback=DingTalkNotifier(to=CHAT))
def real_secrets():
    DingTalkSendGroupMessageOperator(
        task_id="third_party", dingtalk_conn_id="dingtalk_third_party", text="From a suite.", **CHAT
    )
    DingTalkRecallOTOMessagesOperator(
        task_id="fails_and_tells",
        process_query_keys=["nobody-knows-it"],
        on_failure_callback=DingTalkNotifier(to=CHAT, text="{{ ti.task_id }} failed."),
    )
    DingTalkSendGroupMessageOperator(task_id="wrong_secret", dingtalk_conn_id="dingtalk_mistyped", text="x", **CHAT)
    DingTalkGroupMessageSensor(
        task_id="waits",
        process_query_key="{{ params.awaited }}",
        min_readers=1,
        deferrable=True,
        poke_interval=1,
        timeout=120,
        **CHAT,
    )

    @task(retries=1, retry_delay=timedelta(seconds=0))
    def tried_again(ti: object = None) -> dict:
        receipts = DingTalkHook().send("oto", user_ids=["user001"], text="Twice.")
        if ti.try_number == 1:
            raise ValueError(f"The hook is {DingTalkHook()!r}.")
        return DingTalkHook().recall(receipts)

    @task(on_failure_callback=DingTalkNotifier(to=CHAT))
    def tells_by_default() -> None:
        mask_secret(HIDDEN)
        raise ValueError(f"The login with {HIDDEN}\n  is refused.")

    tried_again()
    tells_by_default()


real_secrets()
