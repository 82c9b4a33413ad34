"""Names of Airflow that only tests use, imported from where its version has them."""

from __future__ import annotations

try:
    from airflow.sdk.exceptions import AirflowRescheduleException, TaskDeferred
except ImportError:  # before 3.2
    from airflow.exceptions import AirflowRescheduleException, TaskDeferred

try:
    from airflow.sdk.module_loading import import_string
except ImportError:  # before 3.2
    from airflow.utils.module_loading import import_string

try:
    from airflow.serialization.encoders import encode_trigger
except ImportError:  # before 3.2
    from airflow.serialization.serialized_objects import _encode_trigger as encode_trigger

__all__ = ["AirflowRescheduleException", "TaskDeferred", "encode_trigger", "import_string"]
