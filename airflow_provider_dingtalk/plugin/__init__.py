"""Airflow plugin with the Messages page."""
