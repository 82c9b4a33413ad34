"""Airflow on a cluster: faults, load and other backends, with figures."""
