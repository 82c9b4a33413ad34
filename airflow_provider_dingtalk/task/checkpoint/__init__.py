"""Checkpoints in Airflow's task state store (3.3 and later).

The store survives retries and killed workers. Keys contain a hash of the request, so a task that is cleared or
mapped anew with other input never resumes another request. The store answers 404 to a superseded try, so its write
fails and it stops.
"""
