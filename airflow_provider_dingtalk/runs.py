"""What other tasks did, as far as a worker may ask Airflow: their states, and the receipts they pushed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_dingtalk.execution import RECEIPTS

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Task ids in one question to Airflow: they go into a URL.
MOST_IDS_ASKED = 100


def receipts_in_xcom(context: Context, task_ids: Sequence[str]) -> list[Any]:
    """Receipts that tasks of this run pushed, those of failed, killed and mapped ones included.

    Inside a mapped task group, those of the own instance only.
    """
    ti = context["ti"]
    siblings = _siblings(context)
    alone = [task_id for task_id in task_ids if task_id in siblings]
    others = [task_id for task_id in task_ids if task_id not in siblings]
    found: list[Any] = []
    number = 0
    while True:
        chunks: list[Any] = []
        if others:
            chunks += ti.xcom_pull(task_ids=others, key=RECEIPTS.format(number)) or ()
        if alone:
            chunks += (
                ti.xcom_pull(task_ids=alone, key=RECEIPTS.format(number), map_indexes=[_map_index(context)]) or ()
            )
        if not any(chunks):
            return found
        found += [chunk for chunk in chunks if chunk]
        number += 1


def has_failed(context: Context, task_ids: Sequence[str]) -> bool:
    """Whether one of these tasks of this run failed, or could not run because another one did."""
    ti = context["ti"]
    asked = list(task_ids) if len(task_ids) <= MOST_IDS_ASKED else None
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=asked, run_ids=[ti.run_id]).get(ti.run_id, {})
    siblings = _siblings(context)
    return any(
        state in ("failed", "upstream_failed")
        for name, state in states.items()
        if any(_is_of(name, task_id, _map_index(context) if task_id in siblings else None) for task_id in task_ids)
    )


def _is_of(name: str, task_id: str, map_index: int | None) -> bool:
    """Whether a state is a task's. Those of a mapped task come as task_0, task_1, …"""
    if name == task_id:
        return True
    index = name.removeprefix(f"{task_id}_")
    return index.isdigit() and map_index in (None, int(index))


def _siblings(context: Context) -> frozenset[str]:
    """Ids of the tasks that are mapped together with this one."""
    if _map_index(context) < 0:
        return frozenset()
    group = context["task"].get_closest_mapped_task_group()
    return frozenset(task.task_id for task in group.iter_tasks()) if group else frozenset()


def _map_index(context: Context) -> int:
    """Which instance of a mapped task runs; -1: it is not mapped."""
    found = context["ti"].map_index
    return -1 if found is None else found
