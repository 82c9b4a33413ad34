"""The provider in real Airflow (API server, scheduler, dag-processor, triggerer), against the sandbox."""
