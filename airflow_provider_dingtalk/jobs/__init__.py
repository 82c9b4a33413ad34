"""Crash-safe sends, waits and recalls, without imports of Airflow."""
