"""Local settings of the tests' Airflow: imports that every task and every parsed file would repeat.

Tasks are forks of the scheduler, and parsers of the dag-processor, so they inherit its imports.
"""

from __future__ import annotations

import importlib

__all__: list[str] = []

for _module in (
    "airflow.providers.standard.decorators.branch_python",
    "airflow.providers.standard.decorators.python",
    "airflow.providers.standard.decorators.short_circuit",
    "airflow.providers.standard.operators.empty",
    "airflow.sdk.execution_time.task_runner",
    "airflow_provider_dingtalk.connection.cache",
    "airflow_provider_dingtalk.hooks",
    "airflow_provider_dingtalk.notifications",
    "airflow_provider_dingtalk.operators.rollback",
    "airflow_provider_dingtalk.sensors",
    "airflow_provider_dingtalk.task.rollback",
    "airflow_provider_dingtalk.task.send",
    "airflow_provider_dingtalk.task.wait",
    "airflow_provider_dingtalk.triggers",
):
    importlib.import_module(_module)
