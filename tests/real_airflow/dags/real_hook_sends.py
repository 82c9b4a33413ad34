"""All ways to send without an operator, in a block whose last task fails."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

from airflow.sdk import dag, task

from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.notifications import DingTalkNotifier
from airflow_provider_dingtalk.operators import DingTalkSendGroupMessageOperator, rollback_on_failure
from airflow_provider_dingtalk.version_compat import AirflowFailException

GROUP = "cidgroup1"


def send(text: str, group: str = GROUP) -> list:
    return DingTalkHook().send("group", open_conversation_id=group, text=text)


class ByHand(DingTalkSendGroupMessageOperator):
    allow_nested_operators = True


@dag(schedule=None, params={"fail": True})
def real_hook_sends():  # noqa: C901 -- one small task for each form
    @task
    def sync() -> list:
        return send("sync")

    @task
    async def asynchronous() -> list:
        return await DingTalkHook().asend("group", open_conversation_id=[GROUP, "cidgroup2"], text="asynchronous")

    @task
    def nested() -> dict:
        return {"deep": {"deeper": [send("nested")]}}

    @task(multiple_outputs=True)
    def several() -> dict:
        return {"first": send("several, first"), "second": send("several, second")}

    @task
    def silent() -> None:
        send("silent")

    @task
    def raising() -> None:
        send("raising")
        raise AirflowFailException("The numbers are wrong.")

    @task
    def killed() -> None:
        send("killed")
        os.kill(os.getpid(), signal.SIGKILL)

    @task(retries=1, retry_delay=timedelta(seconds=1))
    def second_try_without_a_send(ti=None) -> None:
        if ti.try_number == 1:
            send("first try")
            raise ValueError("The database is away for a moment.")

    @task
    def by_hand(**context) -> None:
        for text in ("by hand, first", "by hand, second"):
            ByHand(task_id="by_hand", open_conversation_id=GROUP, text=text).execute(context)

    @task
    def mapped(group: str) -> None:
        send("mapped", group)

    @task(on_success_callback=DingTalkNotifier(to={"open_conversation_id": GROUP}, text="callback"))
    def telling() -> None:
        pass

    @task(on_failure_callback=DingTalkNotifier(to={"open_conversation_id": GROUP}, text="alert"))
    def alerting() -> None:
        raise AirflowFailException("The numbers are wrong.")

    @task
    def work(params: dict) -> None:
        if params["fail"]:
            raise AirflowFailException("The numbers are wrong.")

    with rollback_on_failure(retry_delay=timedelta(seconds=1)):
        sync()
        asynchronous()
        nested()
        several()
        silent()
        raising()
        killed()
        second_try_without_a_send()
        by_hand()
        mapped.expand(group=["cidgroup1", "cidgroup2", "cidgroup3"])
        telling()
        alerting()
        work()


real_hook_sends()
