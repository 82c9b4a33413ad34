"""Secrets backend that counts look-ups; Airflow asks it before the other backends."""

from __future__ import annotations

from collections import Counter

from airflow.secrets.base_secrets import BaseSecretsBackend

#: Number of look-ups of each connection.
asked: Counter[str] = Counter()


class CountingBackend(BaseSecretsBackend):
    """Secrets backend without connections, so Airflow asks the next backend, the environment."""

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        asked[conn_id] += 1
        return None
