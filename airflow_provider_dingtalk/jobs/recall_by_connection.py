"""Recall over several Airflow connections: one job each, one report."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.clock import Clock
from airflow_provider_dingtalk.exceptions import DingTalkError
from airflow_provider_dingtalk.jobs import batching
from airflow_provider_dingtalk.jobs.checkpoint import Checkpoint
from airflow_provider_dingtalk.jobs.recall import Recall
from airflow_provider_dingtalk.jobs.recall_results import KeyResult
from airflow_provider_dingtalk.jobs.report import Report
from airflow_provider_dingtalk.jobs.status_reader import Clients
from airflow_provider_dingtalk.messages.receipt import Receipt


class RecallByConnection:
    """Recall job for messages that several connections sent.

    A receipt names its connection. A connection that does not work affects only its own messages. All connections
    share one checkpoint, so that a receipt may change its connection between two tries.

    :param receipts: Messages of any mixture of kinds and connections.
    :param default: Connection id of receipts that name none.
    :param checkpoint: Checkpoint that outlives the process; default: in memory.
    :param clock: Source of time; default: the system's.
    :raises InvalidInputError: If a key comes with two different senders.
    """

    def __init__(
        self,
        receipts: Sequence[Receipt],
        *,
        default: str,
        checkpoint: Checkpoint | None = None,
        clock: Clock | None = None,
    ) -> None:
        distinct = batching.unique(receipts)
        self._order = list(distinct)
        self._duplicates = len(receipts) - len(distinct)
        shared = _SharedCheckpoint(checkpoint) if checkpoint else None
        self._jobs = {
            conn_id: Recall(members, checkpoint=shared, clock=clock)
            for conn_id, members in by_connection(distinct.values(), default).items()
        }

    @property
    def connections(self) -> tuple[str, ...]:
        """Connection ids of the messages."""
        return tuple(self._jobs)

    async def run(self, clients: Clients) -> Report:
        """Recall the messages of all connections side by side.

        :param clients: Function from a connection id to its client.
        :raises DingTalkError: If no connection works, or the checkpoint fails. :meth:`report` still works.
        """
        found, errors = await self._connect(clients)
        if errors and not any(found.values()):
            raise errors[0]
        running = [asyncio.ensure_future(job.run(found[conn_id])) for conn_id, job in self._jobs.items()]
        try:
            await asyncio.gather(*running)
        except Exception:
            # The other jobs stop as on an interruption: their calls in flight end, and the answers are written.
            self.stop()
            await asyncio.gather(*running, return_exceptions=True)
            raise
        return self.report()

    async def _connect(self, clients: Clients) -> tuple[dict[str, DingTalkClient | None], list[DingTalkError]]:
        """Return the clients, None for connections that do not work, and their errors."""
        found: dict[str, DingTalkClient | None] = {}
        errors: list[DingTalkError] = []
        for conn_id, job in self._jobs.items():
            try:
                found[conn_id] = await clients(conn_id)
            except DingTalkError as error:
                found[conn_id] = None
                errors.append(error)
                job.give_up(error)
        return found, errors

    def stop(self) -> None:
        """Begin no further call. Safe to call from threads and signal handlers."""
        for job in self._jobs.values():
            job.stop()

    def report(self) -> Report:
        """Return the report as of now, with each message in one class."""
        reports = [job.report() for job in self._jobs.values()]
        results = {key: result for report in reports for key, result in report.results.items()}
        used = sum((Counter(report.api_calls) for report in reports), Counter[str]())
        return Report({key: results[key] for key in self._order}, dict(used), self._duplicates)

    @property
    def wait(self) -> float:
        """Seconds until the job may resume; 0 if DingTalk requires no pause."""
        return max((job.wait for job in self._jobs.values()), default=0.0)

    @property
    def is_empty(self) -> bool:
        """True if there is nothing to recall."""
        return not self._order

    @property
    def is_final(self) -> bool:
        """True if recalling the rest again, unchanged, is pointless."""
        return all(job.is_final for job in self._jobs.values())


def by_connection(receipts: Iterable[Receipt], default: str) -> dict[str, list[Receipt]]:
    """Group receipts by connection id.

    :param default: Connection id of receipts that name none.
    """
    groups: dict[str, list[Receipt]] = {}
    for receipt in receipts:
        groups.setdefault(receipt.conn_id or default, []).append(receipt)
    return groups


class _SharedCheckpoint:
    """Checkpoint that several jobs share, each for its own messages."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._lock = asyncio.Lock()
        self._loaded: Mapping[str, KeyResult] | None = None

    async def load(self) -> Mapping[str, KeyResult]:
        async with self._lock:
            if self._loaded is None:
                self._loaded = await self._checkpoint.load()
            return self._loaded

    async def write(self, results: Mapping[str, KeyResult]) -> None:
        async with self._lock:
            await self._checkpoint.write(results)
