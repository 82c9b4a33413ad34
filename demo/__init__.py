"""Demo of a rollback in real Airflow: ``python -m demo``."""
