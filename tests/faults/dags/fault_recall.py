"""Recalls that are killed: keys come from a file, 10,000 of them are no parameter."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from airflow.sdk import dag

from airflow_provider_dingtalk.operators import DingTalkRecallGroupMessagesOperator


def content_of(file: str) -> str:
    """Read a file with a JSON list of keys."""
    return Path(file).read_text()


@dag(
    schedule=None,
    params={"file": "", "group": "cidgroup1"},
    user_defined_macros={"content_of": content_of},
    default_args={"retries": 25, "retry_delay": timedelta(seconds=1)},
)
def fault_recall():
    DingTalkRecallGroupMessagesOperator(
        task_id="recall",
        process_query_keys="{{ content_of(params.file) }}",
        open_conversation_id="{{ params.group }}",
    )


fault_recall()
