"""Ledgers on Airflow's task state store (3.3 and later), which survives retries and killed workers.

Keys are named after a hash of the request, so that a task which is cleared or mapped anew with other input
never takes up foreign work. The store answers 404 to a try that was superseded: its write fails, and it stops.
"""
