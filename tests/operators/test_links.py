"""Link from a task that recalls to its report."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_provider_dingtalk.operators import DingTalkRecallOTOMessagesOperator, DingTalkRollbackOperator

TASK = "http://airflow/dags/revenue/runs/manual__1/tasks/rollback"


@pytest.mark.parametrize("operator", [DingTalkRollbackOperator, DingTalkRecallOTOMessagesOperator])
@pytest.mark.parametrize("log_url", [TASK, f"{TASK}?try_number=2", f"{TASK}?try_number=2&map_index=0"])
def test_the_link_of_a_recall_leads_to_the_xcoms_of_its_task(operator: type, log_url: str) -> None:
    task = operator(task_id="rollback")
    (link,) = task.operator_extra_links
    assert link.name == "Report"
    assert link.get_link(task, ti_key=SimpleNamespace(log_url=log_url)) == f"{TASK}/xcom"


def test_with_a_custom_xcom_backend_it_leads_to_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The UI shows a file's path as the XCom, and the log has the whole report."""
    monkeypatch.setenv(
        "AIRFLOW__CORE__XCOM_BACKEND", "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend"
    )
    (link,) = DingTalkRollbackOperator(task_id="rollback").operator_extra_links
    url = f"{TASK}?try_number=2&map_index=0"
    assert link.get_link(None, ti_key=SimpleNamespace(log_url=url)) == url
