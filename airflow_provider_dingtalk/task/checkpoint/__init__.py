"""Checkpoints in Airflow's task state store (3.3 and later), named after a hash of the request."""
