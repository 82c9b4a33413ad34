"""Links from a task in Airflow's UI."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, BaseOperatorLink


class DingTalkReportLink(BaseOperatorLink):
    """Link from a task that recalls to its report, among its XComs."""

    name = "Report"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the URL of the task's XComs."""
        page, _, _ = str(ti_key.log_url).partition("?")
        return f"{page}/xcom"
