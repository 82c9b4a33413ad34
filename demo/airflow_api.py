"""Airflow's REST API, as much of it as the demo and the tests need.

https://airflow.apache.org/docs/apache-airflow/stable/stable-rest-api-ref.html
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx

FINISHED = frozenset({"success", "failed"})
#: Seconds between two attempts, and how many there are: see :meth:`AirflowApi.trigger`.
RETRY_WAIT, ATTEMPTS = 0.5, 10


class AirflowApi:
    """A client of one Airflow, on loopback.

    :param url: Of the API server, without a slash at the end.
    """

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, trust_env=False, timeout=30.0)

    def is_healthy(self) -> bool:
        """Whether all components answer."""
        try:
            health = self._http.get("/api/v2/monitor/health").json()
        except (httpx.HTTPError, ValueError):
            return False
        needed = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return all((health.get(name) or {}).get("status") == "healthy" for name in needed)

    def log_in(self) -> None:
        """Get a token; everybody is admin here."""
        token = self._http.get("/auth/token").raise_for_status().json()["access_token"]
        self._http.headers["authorization"] = f"Bearer {token}"

    def get(self, path: str, **params: Any) -> Any:
        """GET of a path under ``/api/v2``."""
        return self._ask("GET", path, params=params)

    def post(self, path: str, body: Any) -> Any:
        """POST to a path under ``/api/v2``."""
        response = self._http.post(f"/api/v2{path}", json=body)
        if response.is_error:
            raise RuntimeError(f"{path}: {response.status_code} {response.text}")
        return response.json()

    def patch(self, path: str, body: Any) -> Any:
        """PATCH of a path under ``/api/v2``."""
        return self._ask("PATCH", path, json=body)

    def read_again(self, dag_id: str) -> None:
        """Have the dag-processor read a DAG's file now."""
        token = self.get(f"/dags/{dag_id}")["file_token"]
        response = self._http.put(f"/api/v2/parseDagFile/{token}")
        # Asked for already is as good.
        if response.status_code != httpx.codes.CONFLICT:
            response.raise_for_status()

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        """What may be asked as often as need be: on SQLite, Airflow now and then answers 500 (see ``trigger``)."""
        for _ in range(ATTEMPTS):
            response = self._http.request(method, f"/api/v2{path}", **more)
            if not response.is_server_error:
                break
            time.sleep(RETRY_WAIT)
        return response.raise_for_status().json()

    def knows_dag(self, dag_id: str) -> bool:
        """Whether the dag-processor has read a DAG."""
        return self._http.get(f"/api/v2/dags/{dag_id}").is_success

    def import_errors(self) -> list[str]:
        """What is wrong with DAG files."""
        return [error["stack_trace"] for error in self.get("/importErrors")["import_errors"]]

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run; its id.

        On SQLite the API server's sync and async sessions now and then wait for each other's lock until one gives
        up after 5 s and answers 500. The id is ours, so asking again cannot start a second run.

        :raises RuntimeError: Airflow refused.
        """
        run_id = f"manual__{uuid.uuid4().hex}"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf or {}}
        for _ in range(ATTEMPTS):
            response = self._http.post(f"/api/v2/dags/{dag_id}/dagRuns", json=body)
            if response.is_success or response.status_code == httpx.codes.CONFLICT:
                return run_id
            if not response.is_server_error:
                break
            time.sleep(RETRY_WAIT)
        raise RuntimeError(f"{dag_id} was not triggered: {response.status_code} {response.text}")

    def run_state(self, dag_id: str, run_id: str) -> str:
        """The state of a run."""
        state: str = self.get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"]
        return state

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The task instances of a run."""
        found: list[dict[str, Any]] = self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=1000)[
            "task_instances"
        ]
        return found

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """The states of a run's tasks; mapped ones as ``task[index]``."""
        return {
            one["task_id"] + (f"[{one['map_index']}]" if one["map_index"] >= 0 else ""): one["state"]
            for one in self.task_instances(dag_id, run_id)
        }

    def wait_run(
        self,
        dag_id: str,
        run_id: str,
        timeout: float = 120.0,
        progress: Callable[[dict[str, str | None]], None] | None = None,
    ) -> str:
        """Wait until a run is finished; its state.

        :param progress: Called with the states of the tasks at every look.
        :raises TimeoutError: It did not finish; the states of the tasks are in the message.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if progress:
                progress(self.task_states(dag_id, run_id))
            if (state := self.run_state(dag_id, run_id)) in FINISHED:
                return state
            time.sleep(0.5)
        raise TimeoutError(f"{dag_id} {run_id}: {self.task_states(dag_id, run_id)}")

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """A task's XCom; None if there is none."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        response = self._http.get(path, params={"map_index": map_index, "deserialize": True})
        return (
            None if response.status_code == httpx.codes.NOT_FOUND else response.raise_for_status().json()["value"]
        )

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1) -> str:
        """A task's log as text, with the types and texts of errors."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        content = self.get(path, map_index=map_index, full_content=True)["content"]
        return "\n".join(_text_of(line) for line in content)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _text_of(line: Any) -> str:
    """A structured line of a log as text; an error's type and text stand beside the line and not in it."""
    if not isinstance(line, dict):
        return str(line)
    errors = line.get("error_detail") or []
    return "\n".join([line.get("event", ""), *(f"{one['exc_type']}: {one['exc_value']}" for one in errors)])
