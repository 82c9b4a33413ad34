"""The outbox: an Airflow asset for each DAG, whose events say which run sent or took back messages.

An event is small and names a run; the receipts themselves stay in the run's XComs: 10,000 messages are one event.
Airflow makes events of tasks that succeed only. So it is the rollback, which always runs, that makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias

if TYPE_CHECKING:
    from airflow.sdk import Context

#: The outlet of every task that recalls; through it a task may make events of any DAG's outbox.
ALIAS = "dingtalk_outbox"
VERSION = 1


def outbox(dag_id: str) -> Asset:
    """The outbox of a DAG, to look at on the Assets page or to schedule another DAG by."""
    return Asset(name=f"dingtalk_outbox_{dag_id}", uri=f"dingtalk://outbox/{dag_id}")


def with_outlet(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments of an operator, with what a task needs among its outlets to write into outboxes."""
    given = arguments.get("outlets") or []
    return {**arguments, "outlets": [*(given if isinstance(given, list) else [given]), AssetAlias(ALIAS)]}


def write(context: Context, dag_id: str, run_id: str, counts: Mapping[str, int]) -> None:
    """Note what became of a run's messages. Airflow keeps it if the task succeeds.

    :param counts: Messages by what became of them: ``kept``, ``recalled``, ``failed``, ``expired``, ``unknown``.
    """
    events = context.get("outlet_events")
    if events is not None:
        extra: dict[str, Any] = {"version": VERSION, "dag_id": dag_id, "run_id": run_id, **counts}
        events[AssetAlias(ALIAS)].add(outbox(dag_id), extra=extra)


def read(dag_id: str, after: str | None = None) -> list[Any]:
    """Events of a DAG's outbox, oldest first.

    :param after: Moment in ISO 8601; None: since ever.
    """
    # A task has accessors for its inlets only, and those are fixed before it knows whom it looks for.
    from airflow.sdk.execution_time.context import InletEventsAccessor

    asset = outbox(dag_id)
    events = InletEventsAccessor(asset_name=asset.name, asset_uri=asset.uri)
    found = events.after(after) if after else events
    return [event for event in found if (event.extra or {}).get("version") == VERSION]
