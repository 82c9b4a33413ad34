"""A recall that exceeds the timeout of its task."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag

from airflow_provider_dingtalk.operators import DingTalkRecallGroupMessagesOperator


@dag(schedule=None, params={"keys": []})
def real_slow_recall():
    DingTalkRecallGroupMessagesOperator(
        task_id="recall",
        process_query_keys="{{ params['keys'] | tojson }}",
        open_conversation_id="cidgroup1",
        execution_timeout=timedelta(seconds=5),
    )


real_slow_recall()
