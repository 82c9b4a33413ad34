"""Sends by the hook, registered with the running task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_dingtalk.exceptions import SupersededError
from airflow_provider_dingtalk.jobs.send import Send
from airflow_provider_dingtalk.messages.send_request import SendRequest
from airflow_provider_dingtalk.task.registry import SendRegistry
from airflow_provider_dingtalk.task.running_task import current_registry

if TYPE_CHECKING:
    from airflow_provider_dingtalk.client.client import DingTalkClient


class Runner(Protocol):
    """Runner of async work from sync code; the hook."""

    def run(self, work: Callable[[DingTalkClient], Any], stop: Callable[[], None] | None = None) -> Any:
        """Run async work with a client.

        :param stop: Function that stops the work; default None.
        """


def send(runner: Runner, send_requests: Sequence[SendRequest]) -> list[dict[str, Any]]:
    """Send from sync code.

    :returns: Receipts as plain JSON.
    :raises IncompleteSendError: If a call was refused, or its answer is missing.
    :raises LedgerError: If the running task's state store does not answer.
    """
    registry = current_registry()
    if registry is None:
        job = Send(send_requests)
        runner.run(job.run, job.stop)
    else:
        job = registry.hook_job(send_requests)
        try:
            registry.begin()
            runner.run(job.run, job.stop)
        except SupersededError:
            raise
        except BaseException:
            registry.end_interrupted(job)
            raise
        registry.end(job)
    return _result(job)


async def asend(client: DingTalkClient, send_requests: Sequence[SendRequest]) -> list[dict[str, Any]]:
    """Send from an event loop; see :func:`send`."""
    registry = current_registry()
    if registry is None:
        job = Send(send_requests)
        await job.run(client)
    else:
        job = await _run_in_task(client, send_requests, registry)
    return _result(job)


async def _run_in_task(client: DingTalkClient, send_requests: Sequence[SendRequest], registry: SendRegistry) -> Send:
    # Each call may wait for Airflow's supervisor, so it runs in a thread and does not block the task's event loop.
    job = await asyncio.to_thread(registry.hook_job, send_requests)
    try:
        await asyncio.to_thread(registry.begin)
        await job.run(client)
    except SupersededError:
        raise
    except BaseException:
        job.stop()
        await asyncio.shield(asyncio.to_thread(registry.end_interrupted, job))
        raise
    await asyncio.to_thread(registry.end, job)
    return job


def _result(job: Send) -> list[dict[str, Any]]:
    job.raise_if_incomplete()
    return [receipt.to_json() for receipt in job.receipts]
