"""Commands for whoever is on call: ``airflow dingtalk …``, or ``python -m airflow_provider_dingtalk …``."""
