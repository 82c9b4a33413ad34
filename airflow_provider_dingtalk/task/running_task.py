"""The running task, if there is one, and its registry."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from airflow_provider_dingtalk.task.registry import ForkedRegistry, SendRegistry

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Registries kept by a process; a worker's process runs one task.
_MOST = 8

_lock = threading.Lock()
_registries: dict[tuple[Any, ...], SendRegistry] = {}
_is_forked = False


def _note_fork() -> None:
    global _is_forked, _lock
    # A thread of the parent may hold it while the process forks.
    _lock = threading.Lock()
    _is_forked = _is_forked or _running_context() is not None


os.register_at_fork(after_in_child=_note_fork)


def _running_context() -> Context | None:
    # A fork may come before Airflow is imported: then no task runs.
    sdk = sys.modules.get("airflow.sdk")
    try:
        found: Context | None = sdk.get_current_context() if sdk is not None else None
    except (RuntimeError, AttributeError):
        return None
    return found


def registry_of(context: Context) -> SendRegistry:
    """Give the registry of the task instance and try that a context belongs to."""
    ti: Any = context["ti"]
    key = (os.getpid(), id(ti), ti.try_number, ti.max_tries)
    with _lock:
        if key not in _registries:
            while len(_registries) >= _MOST:
                del _registries[next(iter(_registries))]
            _registries[key] = (ForkedRegistry if _is_forked else SendRegistry)(context)
        return _registries[key]


def current_registry() -> SendRegistry | None:
    """Give the registry of the running task; None outside of one: in scripts, commands, triggers."""
    context = _running_context()
    return None if context is None else registry_of(context)


def registry_of_callback(context: Context) -> SendRegistry | None:
    """Give the registry for a callback; None if Airflow lets it push no XComs.

    The DAG processor runs callbacks too. There a push is never answered, and the callback is killed.
    """
    ti: Any = context.get("ti")
    names = ("AIRFLOW_CTX_TASK_ID", "AIRFLOW_CTX_DAG_RUN_ID")
    # Airflow sets them in the process that runs the task, and in no other.
    is_in_task = ti is not None and tuple(map(os.environ.get, names)) == (ti.task_id, ti.run_id)
    return registry_of(context) if is_in_task else None
