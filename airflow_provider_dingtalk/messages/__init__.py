"""Messages of each type: receipts, send requests, conditions and read status, without imports of Airflow."""
