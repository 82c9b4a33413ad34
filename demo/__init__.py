"""A rollback through real Airflow, to be seen: ``python -m demo``."""
