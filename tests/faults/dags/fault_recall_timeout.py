"""A recall that takes longer than one try may."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from airflow.sdk import dag

from airflow_provider_dingtalk.operators import DingTalkRecallPrivateChatMessagesOperator


def content_of(file: str) -> str:
    """Read a file with a JSON list of keys."""
    return Path(file).read_text()


@dag(
    schedule=None,
    params={"file": ""},
    user_defined_macros={"content_of": content_of},
    default_args={"retries": 25, "retry_delay": timedelta(seconds=1)},
)
def fault_recall_timeout():
    DingTalkRecallPrivateChatMessagesOperator(
        task_id="recall",
        process_query_keys="{{ content_of(params.file) }}",
        open_conversation_id="cidprivate1",
        execution_timeout=timedelta(seconds=6),
    )


fault_recall_timeout()
