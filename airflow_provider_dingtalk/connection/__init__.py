"""Client of an Airflow connection: its settings, their cache, and the event loop."""
