"""Helpers of the client's tests."""

from __future__ import annotations

from typing import Any

from airflow_provider_dingtalk.client.endpoints import Endpoint
from airflow_provider_dingtalk.sandbox.testing import SandboxServer


def by_name(endpoint: object) -> str | None:
    return endpoint.name if isinstance(endpoint, Endpoint) else None


def calls(sandbox: SandboxServer, endpoint: Endpoint[Any] | str) -> int:
    """Requests that reached the sandbox."""
    name = endpoint if isinstance(endpoint, str) else endpoint.name
    return int(sandbox.snapshot(brief=True)["calls"].get(name, {}).get("total", 0))
