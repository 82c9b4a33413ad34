"""Rollbacks of given receipts."""

from __future__ import annotations

from typing import Any

from airflow_provider_dingtalk.operators import (
    DingTalkRollbackOperator,
)
from tests.support.airflow_seams import TaskInstance, context


def roll_back(receipts: Any, ti: TaskInstance | None = None, **arguments: Any) -> Any:
    return DingTalkRollbackOperator(task_id="rollback", receipts=receipts, **arguments).execute(
        context(ti or TaskInstance("rollback"))
    )
