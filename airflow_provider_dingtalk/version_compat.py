"""Names and behaviour of Airflow that differ between 3.1 and 3.3.

The other modules import only names that all these versions have; tests/test_lazy_imports.py checks it.
"""

from __future__ import annotations

import datetime as dt
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import airflow

try:
    from airflow.sdk import configuration, exceptions
except ImportError:  # before 3.2
    from airflow import configuration, exceptions  # type: ignore[no-redef]

if TYPE_CHECKING:
    from airflow.sdk import Asset, Connection

conf = configuration.conf
AirflowFailException = exceptions.AirflowFailException
AirflowNotFoundException = exceptions.AirflowNotFoundException
AirflowSensorTimeout = exceptions.AirflowSensorTimeout
AirflowSkipException = exceptions.AirflowSkipException
AirflowTaskTimeout = exceptions.AirflowTaskTimeout

T = TypeVar("T")

_VERSION = tuple(int(part) for part in airflow.__version__.split(".")[:2])
#: True if Airflow has the task state store, which outlives a try (3.3 and later).
HAS_TASK_STATE_STORE = _VERSION >= (3, 3)
#: True if Airflow's command line has commands of providers, such as ``airflow dingtalk`` (3.2 and later).
HAS_PROVIDER_COMMANDS = _VERSION >= (3, 2)

_one_request = threading.RLock()


def _forget_lock() -> None:
    global _one_request
    _one_request = threading.RLock()


# A thread of the parent may hold the lock at the fork, so the child makes a new one.
os.register_at_fork(after_in_child=_forget_lock)


def read_connections_from_database() -> None:
    """Let this process find connections in Airflow's database too, as Airflow's own commands do."""
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"


def call_supervisor(work: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """Call sync code that asks Airflow's supervisor, one thread at a time.

    Airflow 3.1: the worker's stream has no lock, and requests of two threads read each other's answers, so a lock
    serializes them. Airflow 3.2 and later need no lock.
    """
    if _VERSION >= (3, 2):
        return work(*arguments, **named)
    with _one_request:
        return work(*arguments, **named)


def asset_events(asset: Asset, after: str | None = None) -> list[Any]:
    """Return the events of an asset, oldest first; works in tasks only.

    :param after: Moment in ISO 8601; default None, which asks for all events.
    """
    # Airflow gives a task accessors for its inlets only. Inlets are fixed before the task knows the asset.
    from airflow.sdk.execution_time.context import InletEventsAccessors

    return events_since(InletEventsAccessors([asset])[asset], after)


def dag_run(dag_id: str, run_id: str) -> Any:
    """Return a DAG run with its state and dates; works in tasks only.

    :returns: None before Airflow 3.2, where a worker cannot ask.
    """
    try:
        from airflow.sdk.execution_time.comms import GetDagRun
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS
    except ImportError:
        return None
    return SUPERVISOR_COMMS.send(GetDagRun(dag_id=dag_id, run_id=run_id))


def xcoms_until(dag_id: str, run_id: str, task_id: str, key: str, limit: int | None = None) -> list[Any]:
    """Return XComs of all instances of a task in a run, and in all runs of the same or an earlier date.

    The date of a run is its logical date, or without one the time from which it may begin. The values are those that
    Airflow stores, which may be references of an XCom backend. Works in tasks only.

    :param limit: Most values; default None, all. Their order is unknown.
    """
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import GetXComSequenceSlice

    where: dict[str, Any] = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "key": key}
    request = GetXComSequenceSlice(start=None, stop=limit, step=None, include_prior_dates=True, **where)
    found: Any = task_runner.SUPERVISOR_COMMS.send(request)
    return list(found.root)


def has_custom_xcom_backend() -> bool:
    """Return True if Airflow's UI and REST API may show a reference instead of an XCom's value."""
    backend: str = conf.get("core", "xcom_backend", fallback="") or ""
    return bool(backend) and not backend.endswith(".BaseXCom")


def api_server_has_connection(conn_id: str) -> bool:
    """Return True if Airflow's API server has a connection; works in tasks only, and is False elsewhere.

    Airflow's secrets backends hide an outage of the API server: each connection seems to be missing.

    :raises AirflowRuntimeError: If the API server does not answer.
    """
    try:
        from airflow.sdk.execution_time.comms import GetConnection
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS
    except ImportError:
        return False
    return hasattr(SUPERVISOR_COMMS.send(GetConnection(conn_id=conn_id)), "conn_id")


def events_since(events: Any, after: str | None) -> list[Any]:
    """List an inlet's events that are not older than a moment.

    :param events: Accessor of an inlet; before Airflow 3.2 the list of all events.
    :param after: Moment in ISO 8601; None keeps all events.
    """
    if after is None:
        return list(events)
    if hasattr(events, "after"):
        return list(events.after(after))
    moment = dt.datetime.fromisoformat(after)
    return [event for event in events if event.timestamp >= moment]


async def aget_connection(conn_id: str) -> Connection:
    """Return an Airflow connection, from an event loop that Airflow runs.

    :raises AirflowNotFoundException: If no secrets backend has the connection.
    """
    from airflow.sdk import BaseHook, Connection

    # Before 3.3.2, which has aextra_dejson, BaseHook.aget_connection masks with a sync call, which fails on a busy
    # loop. On 3.1 it finds no connection of the database in a worker.
    if hasattr(Connection, "aextra_dejson"):
        return await BaseHook.aget_connection(conn_id)
    return await call_from_airflow_loop(BaseHook.get_connection, conn_id)


async def amask_secret(secret: str) -> None:
    """Mask a secret in logs, from an event loop that Airflow runs."""
    from airflow.sdk import log

    native = getattr(log, "amask_secret", None)  # from 3.3.2 on
    await (native(secret) if native else call_from_airflow_loop(log.mask_secret, secret))


async def call_from_airflow_loop(work: Callable[..., T], *arguments: Any) -> T:
    """Call sync code that may ask Airflow's supervisor, from Airflow's event loop.

    The loop is the triggerer's, or that of an ``async`` task. Airflow 3.1.0 to 3.2.1: a request from a thread of
    ``asyncio.to_thread`` makes a second event loop. Both loops read the supervisor's stream, and the triggerer
    dies. asgiref's thread hands the request to the first loop.
    """
    from asgiref.sync import sync_to_async

    return await sync_to_async(work, thread_sensitive=True)(*arguments)
