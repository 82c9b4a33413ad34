"""The life of a message: sent, delivered, read, recalled. Imports no Airflow."""
