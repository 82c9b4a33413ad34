"""Sending, status, and recall of messages, without imports of Airflow."""
