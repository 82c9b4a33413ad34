"""A secrets backend that counts: Airflow asks it for a connection before it asks anybody else."""

from __future__ import annotations

from collections import Counter

from airflow.secrets.base_secrets import BaseSecretsBackend

#: How often each connection was asked for.
asked: Counter[str] = Counter()


class CountingBackend(BaseSecretsBackend):
    """Has no connection of its own: the next backend, the environment, has it."""

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        asked[conn_id] += 1
        return None
