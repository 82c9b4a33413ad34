"""A recall without retries, for an API server that is away in its middle."""

from __future__ import annotations

from airflow.sdk import dag

from airflow_provider_dingtalk.operators import DingTalkRecallGroupMessagesOperator


@dag(schedule=None, params={"keys": []})
def real_recall_in_outage():
    DingTalkRecallGroupMessagesOperator(
        task_id="recall",
        process_query_keys="{{ params['keys'] | tojson }}",
        open_conversation_id="cidgroup1",
        retries=0,
    )


real_recall_in_outage()
