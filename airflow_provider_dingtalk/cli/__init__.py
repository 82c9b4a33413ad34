"""Commands ``airflow dingtalk …`` and ``python -m airflow_provider_dingtalk …`` for operations."""
