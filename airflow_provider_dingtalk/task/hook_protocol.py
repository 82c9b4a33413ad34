"""Part of the hook that tasks need; the hook imports this package, not the other way round."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from airflow_provider_dingtalk.client.client import DingTalkClient
    from airflow_provider_dingtalk.jobs.status_reader import Clients

T = TypeVar("T")


class Hook(Protocol):
    """Runner of async jobs from sync code, with the clients of connections."""

    dingtalk_conn_id: str

    def run(self, work: Callable[[DingTalkClient], Awaitable[T]], stop: Callable[[], None] | None = None) -> T:
        """Run work with the hook's client; ``stop`` ends it after an interruption."""

    def run_by_connection(
        self,
        work: Callable[[Clients], Awaitable[T]],
        conn_ids: Iterable[str | None],
        stop: Callable[[], None] | None = None,
    ) -> T:
        """Run work with the clients of several connections; None is the hook's connection."""
