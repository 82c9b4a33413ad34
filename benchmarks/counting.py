"""A secrets backend that counts look-ups. Airflow loads it before most of itself: hence a file of its own."""

from __future__ import annotations

import os

from airflow.secrets.base_secrets import BaseSecretsBackend

#: Environment variables that name the files in which is written who began, who is ready, and who looked a
#: connection up.
BEGUN, READY, LOOKUPS = "BENCH_BEGUN", "BENCH_READY", "BENCH_LOOKUPS"


def tell(variable: str, text: str) -> None:
    """Add a line to the file that an environment variable names."""
    # Appended in one write: many do so at once.
    fd = os.open(os.environ[variable], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(fd, f"{text}\n".encode())
    finally:
        os.close(fd)


class CountingBackend(BaseSecretsBackend):
    """Has no connection; it writes down that it was asked for one, and by which process."""

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        """Nothing: the next backend has it."""
        tell(LOOKUPS, f"{os.getpid()} {conn_id}")
        return None
