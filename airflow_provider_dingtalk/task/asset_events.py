"""Rollback log: an Airflow asset for each DAG, with events about runs.

A task that recalls writes into its own DAG's log through an outlet, and into those of other runs and DAGs through an
alias. Airflow 3.3.2: parallel tasks that make an asset's first event through an alias fail permanently.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from airflow.sdk import Asset, AssetAlias

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

Event = TypeVar("Event", bound=Any)

#: Alias that is an outlet of every rollback, to write into the logs of other runs and DAGs.
ALIAS = "dingtalk_rollback_log"
VERSION = 1
#: Longest encoded DAG id in an asset's name and URI. Airflow takes 1,500 characters, MySQL indexes name and URI.
MAX_ENCODED = 500


def rollback_log(dag_id: str) -> Asset:
    """Return a DAG's rollback log, which the Assets page shows and which may schedule another DAG."""
    encoded = encode_id(dag_id)
    return Asset(name=f"dingtalk_rollback_log_{encoded}", uri=f"dingtalk://rollback_log/{encoded}")


def encode_id(dag_id: str) -> str:
    """Encode a DAG id, which may have any letters, as the ASCII that Airflow takes for an asset."""
    encoded = quote(dag_id, safe="")
    if len(encoded) <= MAX_ENCODED:
        return encoded
    # Airflow does not allow a tilde in a DAG id, so no other encoded id can equal this one.
    digest = hashlib.sha256(dag_id.encode()).hexdigest()
    return f"{encoded[: MAX_ENCODED - len(digest) - 1]}~{digest}"


def with_rollback_log(outlets: Any, dag: Any, *, of_all_dags: bool = False) -> list[Any]:
    """Add a DAG's rollback log, or those of all DAGs, to the outlets that a user gives."""
    listed = list(outlets) if isinstance(outlets, list | tuple | set) else [outlets] if outlets else []
    try:
        ours: list[Any] = [rollback_log(dag.dag_id)] if dag is not None else []
        ours += [AssetAlias(ALIAS)] if of_all_dags else []
    except Exception:
        # An error here would hide every DAG of the file, and a rollback works without its log.
        log.exception("The rollback log cannot be an outlet; rollbacks of this DAG leave no events.")
        return listed
    return [*listed, *(outlet for outlet in ours if outlet not in listed)]


def write(context: Context, dag_id: str, run_id: str, counts: Mapping[str, int]) -> None:
    """Write an event about a run's messages, which Airflow keeps if the task succeeds.

    :param counts: Number of messages by ``kept``, ``recalled``, ``failed``, ``expired`` or ``unknown``.
    """
    events = context.get("outlet_events")
    if events is None:
        return
    extra: dict[str, Any] = {"version": VERSION, "dag_id": dag_id, "run_id": run_id, **counts}
    asset, outlets, ti = rollback_log(dag_id), context["task"].outlets, context["ti"]
    if asset in outlets and (dag_id, run_id) == (ti.dag_id, ti.run_id):
        events[asset].extra = extra
    elif AssetAlias(ALIAS) in outlets:
        events[AssetAlias(ALIAS)].add(asset, extra=extra)


def read(context: Context, dag_id: str, after: str | None = None) -> list[Any]:
    """Return the events of a DAG's rollback log, oldest first.

    :param after: Moment in ISO 8601; default None, which asks for all events.
    """
    # The dag-processor imports this module for every DAG file, and calls nothing.
    from airflow_provider_dingtalk.task.api_server import api_server_of
    from airflow_provider_dingtalk.version_compat import asset_events

    return of_this_version(api_server_of(context).call(asset_events, rollback_log(dag_id), after))


def of_this_version(events: Iterable[Event]) -> list[Event]:
    """Return the events that this version of the package can read."""
    return [event for event in events if (event.extra or {}).get("version") == VERSION]
