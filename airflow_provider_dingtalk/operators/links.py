"""Links from a task in Airflow's UI."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, BaseOperatorLink


class DingTalkReportLink(BaseOperatorLink):
    """Link from a task that recalls to its report: among its XComs, or in its log with a custom XCom backend."""

    name = "Report"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the URL of the task's XComs, or of its log if the UI cannot show its XComs."""
        from airflow_provider_dingtalk.version_compat import has_custom_xcom_backend

        log_url = str(ti_key.log_url)
        return log_url if has_custom_xcom_backend() else f"{log_url.partition('?')[0]}/xcom"
