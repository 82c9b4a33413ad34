"""Registry of the running task or callback, one for each task instance and try of a process."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_dingtalk.language import get_logger
from airflow_provider_dingtalk.task import xcoms
from airflow_provider_dingtalk.task.api_server import original_of
from airflow_provider_dingtalk.task.registry import ForkedRegistry, SendRegistry
from airflow_provider_dingtalk.version_compat import call_supervisor

if TYPE_CHECKING:
    from airflow.sdk import Context

log = get_logger(__name__)

#: Most registries in a process; a worker's process runs one task.
_MAX_REGISTRIES = 8

_registries_lock = threading.Lock()
_recalled_lock = threading.Lock()
_registries: dict[tuple[Any, ...], SendRegistry] = {}
_is_forked = False


def _note_fork() -> None:
    global _is_forked, _registries_lock, _recalled_lock
    # A thread of the parent may hold a lock at the fork, so the child makes new ones.
    _registries_lock, _recalled_lock = threading.Lock(), threading.Lock()
    _is_forked = _is_forked or running_context() is not None


os.register_at_fork(after_in_child=_note_fork)


def running_context() -> Context | None:
    """Return the context of the running task; None in scripts, commands and triggers."""
    # If a fork comes before Airflow is imported, no task runs.
    sdk = sys.modules.get("airflow.sdk")
    try:
        found: Context | None = sdk.get_current_context() if sdk is not None else None
    except (RuntimeError, AttributeError):
        return None
    return found


def registry_of(context: Context) -> SendRegistry:
    """Return the registry of a context's task instance and try."""
    ti: Any = original_of(context["ti"])
    key = (os.getpid(), id(ti), ti.try_number, ti.max_tries)
    with _registries_lock:
        if key not in _registries:
            while len(_registries) >= _MAX_REGISTRIES:
                del _registries[next(iter(_registries))]
            _registries[key] = (ForkedRegistry if _is_forked else SendRegistry)(context)
        return _registries[key]


def current_registry() -> SendRegistry | None:
    """Return the registry of the running task; None in scripts, commands and triggers."""
    context = running_context()
    return None if context is None else registry_of(context)


def push_recalled(context: Context, keys: Sequence[str]) -> None:
    """Push the keys of recalled messages, after those that the same try recalled before."""
    with _recalled_lock:
        recalled = registry_of(context).recalled
        recalled.update(dict.fromkeys(keys))
        xcoms.push_recalled(partial(call_supervisor, context["ti"].xcom_push), list(recalled))


def register_recalled(keys: Sequence[str]) -> None:
    """Push the keys that a call of the hook recalled, if a task is running.

    A failed push is logged only, because it costs no more than a second recall of the same messages.
    """
    context = running_context()
    if not keys or context is None:
        return
    try:
        push_recalled(context, keys)
    except Exception as error:
        log.warning("The keys of recalled messages are not pushed (%s).", type(error).__name__)


def registry_of_callback(context: Context) -> SendRegistry | None:
    """Return a callback's registry; None if it may push no XComs."""
    ti: Any = context.get("ti")
    names = ("AIRFLOW_CTX_TASK_ID", "AIRFLOW_CTX_DAG_RUN_ID")
    # Airflow sets these variables only in the task's process. In the DAG processor it never answers a push.
    here = tuple(getattr(ti, name, "") for name in ("task_id", "run_id"))
    is_in_task = ti is not None and tuple(map(os.environ.get, names)) == here
    return registry_of(context) if is_in_task else None
