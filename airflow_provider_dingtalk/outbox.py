"""The outbox: an Airflow asset for each DAG, whose events say which run sent or took back messages.

An event is small and names a run; the receipts themselves stay in the run's XComs: 10,000 messages are one event.
Airflow makes events of tasks that succeed only. So it is the tasks that recall which make them, not the sends.

A task that recalls names its DAG's outbox as an outlet, and makes one event each time it succeeds: empty if it had
nothing to say of its own run. Of other runs and DAGs a rollback writes through an alias. It does not do so of its
own run: seen on 3.3.2, tasks side by side that make an asset's first event by an alias fail for it, for good.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias

if TYPE_CHECKING:
    from airflow.sdk import Context

#: An outlet of every rollback; through it a task makes events of other runs' and DAGs' outboxes.
ALIAS = "dingtalk_outbox"
VERSION = 1


def outbox(dag_id: str) -> Asset:
    """The outbox of a DAG, to look at on the Assets page or to schedule another DAG by."""
    return Asset(name=f"dingtalk_outbox_{dag_id}", uri=f"dingtalk://outbox/{dag_id}")


def with_outbox(outlets: Any, dag: Any) -> list[Any]:
    """Outlets as a user gives them, and the outbox of a DAG; not without a DAG."""
    return _with(outlets, outbox(dag.dag_id)) if dag is not None else _listed(outlets)


def with_outboxes(outlets: Any, dag: Any) -> list[Any]:
    """The same, and those of all DAGs."""
    return _with(with_outbox(outlets, dag), AssetAlias(ALIAS))


def _with(outlets: Any, outlet: Asset | AssetAlias) -> list[Any]:
    listed = _listed(outlets)
    return listed if outlet in listed else [*listed, outlet]


def _listed(outlets: Any) -> list[Any]:
    return list(outlets) if isinstance(outlets, list | tuple | set) else [outlets] if outlets else []


def write(context: Context, dag_id: str, run_id: str, counts: Mapping[str, int]) -> None:
    """Note what became of a run's messages. Airflow keeps it if the task succeeds.

    :param counts: Messages by what became of them: ``kept``, ``recalled``, ``failed``, ``expired``, ``unknown``.
    """
    events = context.get("outlet_events")
    if events is None:
        return
    extra: dict[str, Any] = {"version": VERSION, "dag_id": dag_id, "run_id": run_id, **counts}
    asset, outlets, ti = outbox(dag_id), context["task"].outlets, context["ti"]
    if asset in outlets and (dag_id, run_id) == (ti.dag_id, ti.run_id):
        events[asset].extra = extra
    elif AssetAlias(ALIAS) in outlets:
        events[AssetAlias(ALIAS)].add(asset, extra=extra)


def read(dag_id: str, after: str | None = None) -> list[Any]:
    """Events of a DAG's outbox, oldest first.

    :param after: Moment in ISO 8601; None: since ever.
    """
    from airflow_provider_dingtalk.version_compat import asset_events

    events = asset_events(outbox(dag_id), after)
    return [event for event in events if (event.extra or {}).get("version") == VERSION]
