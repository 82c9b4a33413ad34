"""Runs of a DAG as Airflow answers a task about them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse

DAG = "revenue"


class Runs:
    """The ``ti`` of a task of another DAG; XComs and states are by run, task and index.

    :param states: ``{run: {(task, index): state}}``; the index of a task that is not mapped is -1.
    """

    dag_id, run_id, map_index = "sweeper", "today", -1
    is_unknown = False

    def __init__(self, states: dict[str, dict[tuple[str, int], str]]) -> None:
        self._states = states
        self.xcoms: dict[tuple[str, str, int, str], Any] = {}
        self.running: set[str] = set()

    def sent(self, run: str, task: str, *keys: str, index: int = -1, block: str = "") -> None:
        receipts = [{"kind": "oto", "robot_code": "robot", "process_query_key": key} for key in keys]
        self.xcoms[run, task, index, "receipts_0"] = receipts
        if block:
            self.xcoms[run, task, index, "sending"] = {"is_over": True, "rollbacks": [block]}

    def xcom_pull(
        self, *, task_ids: list[str], key: str, dag_id: str, run_id: str, map_indexes: Iterable[int] | None = None
    ) -> list[Any]:
        assert dag_id == DAG
        return [
            value
            for (run, task, index, name), value in self.xcoms.items()
            if (run, name) == (run_id, key) and task in task_ids and (map_indexes is None or index in map_indexes)
        ] or [None]

    def get_task_states(
        self, *, dag_id: str, task_ids: list[str] | None, run_ids: list[str] | None
    ) -> dict[str, dict[str, str]]:
        assert dag_id == DAG
        return {
            run: {
                task if index < 0 else f"{task}_{index}": state
                for (task, index), state in states.items()
                if task_ids is None or task in task_ids
            }
            for run, states in self._states.items()
            if run_ids is None or run in run_ids
        }

    def get_task_breadcrumbs(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        ended = ("success", "failed", "skipped", "upstream_failed", "removed")
        return [
            {"task_id": task, "map_index": index}
            for (task, index), state in self._states.get(run_id, {}).items()
            if state in ended
        ]

    def get_dagrun_state(self, dag_id: str, run_id: str) -> str:
        return "running" if run_id in self.running else "failed"

    def get_dr_count(self, *, dag_id: str) -> int:
        assert dag_id == DAG
        return len(self._states)

    def get_dag(self, dag_id: str) -> str:
        assert dag_id == DAG
        if self.is_unknown:
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 404}))
        return dag_id


class RollbackOfRuns(Runs):
    """The same of a task that recalls; it keeps what the task pushes."""

    task_id, try_number, max_tries = "undo", 1, 0

    def __init__(self, states: dict[str, dict[tuple[str, int], str]]) -> None:
        super().__init__(states)
        self.pushes: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushes[key] = value


def keys(found: Iterable[Any]) -> dict[str, list[str]]:
    return {one.run_id: sorted(receipt.key for receipt in one.receipts) for one in found}


# ── what cannot be seen ──

SINCE = 1_795_000_000.0
