"""Client of Airflow's REST API, for the demo and the tests.

https://airflow.apache.org/docs/apache-airflow/stable/stable-rest-api-ref.html
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx

FINISHED = frozenset({"success", "failed"})
#: Seconds between two attempts, and the maximum number of attempts (see :meth:`AirflowApi.trigger`).
RETRY_WAIT, ATTEMPTS = 0.5, 10


class AirflowApi:
    """Client of one Airflow on loopback.

    :param url: URL of the API server, without a trailing slash.
    """

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, trust_env=False, timeout=30.0)

    def is_healthy(self) -> bool:
        """Return True if all components are healthy."""
        try:
            health = self._http.get("/api/v2/monitor/health").json()
        except (httpx.HTTPError, ValueError):
            return False
        needed = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return all((health.get(name) or {}).get("status") == "healthy" for name in needed)

    def log_in(self) -> None:
        """Get a token; in this Airflow every user is an admin."""
        token = self._http.get("/auth/token").raise_for_status().json()["access_token"]
        self._http.headers["authorization"] = f"Bearer {token}"

    def get(self, path: str, **params: Any) -> Any:
        """Send a GET to a path under ``/api/v2`` and return the JSON."""
        return self._ask("GET", path, params=params)

    def post(self, path: str, body: Any) -> Any:
        """Send a POST to a path under ``/api/v2`` and return the JSON.

        :raises RuntimeError: If Airflow refuses it.
        """
        response = self._http.post(f"/api/v2{path}", json=body)
        if response.is_error:
            raise RuntimeError(f"{path}: {response.status_code} {response.text}")
        return response.json()

    def patch(self, path: str, body: Any) -> Any:
        """Send a PATCH to a path under ``/api/v2`` and return the JSON."""
        return self._ask("PATCH", path, json=body)

    def delete(self, path: str) -> None:
        """DELETE of a path under ``/api/v2``."""
        response = self._http.delete(f"/api/v2{path}")
        if response.is_error:
            raise RuntimeError(f"{path}: {response.status_code} {response.text}")

    def read_again(self, dag_id: str) -> None:
        """Ask the dag-processor to parse a DAG's file now."""
        token = self.get(f"/dags/{dag_id}")["file_token"]
        response = self._http.put(f"/api/v2/parseDagFile/{token}")
        # 409: the file is already queued for parsing, which is as good.
        if response.status_code != httpx.codes.CONFLICT:
            response.raise_for_status()

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        """Send an idempotent request, and retry while Airflow answers 5xx (see :meth:`trigger`)."""
        for _ in range(ATTEMPTS):
            response = self._http.request(method, f"/api/v2{path}", **more)
            if not response.is_server_error:
                break
            time.sleep(RETRY_WAIT)
        return response.raise_for_status().json()

    def knows_dag(self, dag_id: str) -> bool:
        """Return True if the dag-processor has parsed a DAG."""
        return self._http.get(f"/api/v2/dags/{dag_id}").is_success

    def import_errors(self) -> list[str]:
        """Return the stack traces of DAG files that cannot be imported."""
        return [error["stack_trace"] for error in self.get("/importErrors")["import_errors"]]

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run and return its id.

        On SQLite the API server's sync and async sessions sometimes wait for each other's lock; one of them times
        out after 5 s and answers 500. The client chooses the id, so a retry cannot start a second run.

        :raises RuntimeError: If Airflow refuses.
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
        """Return the state of a run."""
        state: str = self.get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"]
        return state

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        found: list[dict[str, Any]] = self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=1000)[
            "task_instances"
        ]
        return found

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Return the states of a run's tasks; mapped tasks as ``task[index]``."""
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
        """Wait until a run is finished and return its state.

        :param timeout: Timeout in seconds; default 120.
        :param progress: Called with the states of the tasks at every poll (0.5 s).
        :raises TimeoutError: If the run does not finish; the message holds the states of its tasks.
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
        """Return a task's XCom, or None if it does not exist."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        response = self._http.get(path, params={"map_index": map_index, "deserialize": True})
        return None if response.status_code == httpx.codes.NOT_FOUND else response.raise_for_status().json()["value"]

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1) -> str:
        """Return a task's log as text, with the types and texts of errors."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        content = self.get(path, map_index=map_index, full_content=True)["content"]
        return "\n".join(_text_of(line) for line in content)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _text_of(line: Any) -> str:
    """Return a structured log line as text.

    The type and the text of an error are in ``error_detail``, not in ``event``.
    """
    if not isinstance(line, dict):
        return str(line)
    errors = line.get("error_detail") or []
    return "\n".join([line.get("event", ""), *(f"{one['exc_type']}: {one['exc_value']}" for one in errors)])
