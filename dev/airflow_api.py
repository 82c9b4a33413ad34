"""Client of a local Airflow's REST API that also starts and changes runs.

https://airflow.apache.org/docs/apache-airflow/stable/stable-rest-api-ref.html
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx

from airflow_provider_dingtalk.cli.airflow_api import AirflowRest, Run, XCom, path_of

FINISHED = frozenset({"success", "failed"})
#: Components that must be healthy.
COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")
#: Maximum number of attempts. On SQLite the API server's sync and async sessions sometimes wait for each other's lock;
#: one of them times out after 5 s and answers 500.
ATTEMPTS = 10


class AirflowApi(AirflowRest):
    """Client of one Airflow on loopback.

    :param url: URL of the API server.
    :param sleep: Function that waits for a number of seconds; default ``time.sleep``.
    """

    def __init__(self, url: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        super().__init__(url, attempts=ATTEMPTS, sleep=sleep)

    def is_healthy(self) -> bool:
        """Return True if all components are healthy."""
        try:
            health = self._http.get("/api/v2/monitor/health").json()
        except (httpx.HTTPError, ValueError):
            return False
        return all((health.get(name) or {}).get("status") == "healthy" for name in COMPONENTS)

    def get(self, path: str, **params: Any) -> Any:
        """Send a GET to a path under ``/api/v2`` and return the JSON.

        :raises LookupError: If there is no such object.
        """
        answer = self._get(path, **params)
        if answer is None:
            raise LookupError(path)
        return answer

    def post(self, path: str, body: Any) -> Any:
        """Send a POST to a path under ``/api/v2`` and return the JSON.

        :raises RuntimeError: If Airflow refuses it.
        """
        return _done(self._write("POST", path, json=body)).json()

    def patch(self, path: str, body: Any) -> Any:
        """Send a PATCH to a path under ``/api/v2`` and return the JSON.

        :raises RuntimeError: If Airflow refuses it.
        """
        return _done(self._request("PATCH", f"/api/v2{path}", json=body)).json()

    def delete(self, path: str) -> None:
        """Send a DELETE to a path under ``/api/v2``.

        :raises RuntimeError: If Airflow refuses it.
        """
        _done(self._write("DELETE", path))

    def reparse(self, dag_id: str) -> None:
        """Ask the dag-processor to parse a DAG's file now."""
        token = self.get(path_of("dags", dag_id))["file_token"]
        # 409: the file is already queued for parsing, which is as good.
        _done(self._request("PUT", f"/api/v2/parseDagFile/{token}"), httpx.codes.CONFLICT)

    def knows_dag(self, dag_id: str) -> bool:
        """Return True if the dag-processor has parsed a DAG."""
        return self._get(path_of("dags", dag_id)) is not None

    def import_errors(self) -> list[str]:
        """Return the stack traces of DAG files that cannot be imported."""
        return [error["stack_trace"] for error in self.get("/importErrors")["import_errors"]]

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run and return its id.

        The client chooses the id, so a retry cannot start a second run.

        :raises RuntimeError: If Airflow refuses.
        """
        run_id = f"manual__{uuid.uuid4().hex}"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf or {}}
        path = f"/api/v2{path_of('dags', dag_id, 'dagRuns')}"
        _done(self._request("POST", path, json=body), httpx.codes.CONFLICT)
        return run_id

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run."""
        return str(self.get(path_of("dags", dag_id, "dagRuns", run_id))["state"])

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        path = path_of("dags", dag_id, "dagRuns", run_id, "taskInstances")
        instances: list[dict[str, Any]] = self.get(path, limit=1000)["task_instances"]
        return instances

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
        return self.xcom_value(Run(dag_id, run_id), XCom(task_id, map_index, key), deserialize=True)

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1) -> str:
        """Return a task's log as text, with the types and texts of errors."""
        path = path_of("dags", dag_id, "dagRuns", run_id, "taskInstances", task_id, "logs", str(try_number))
        content = self.get(path, map_index=map_index, full_content=True)["content"]
        return "\n".join(_text_of(line) for line in content)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _write(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Send a request that must not be carried out twice; it is repeated only where Airflow rolled it back."""
        for _ in range(ATTEMPTS):
            response = self._http.request(method, f"/api/v2{path}", **more)
            if not _is_rolled_back(response):
                break
            self._sleep(1)
        return response

    def _checked(self, response: httpx.Response) -> httpx.Response:
        """Raise an error with Airflow's text, except for statuses that a method may allow."""
        return response if response.status_code in (404, 405, 409) else _done(response)


def _is_rolled_back(response: httpx.Response) -> bool:
    """Return True if the database was locked."""
    return response.status_code == httpx.codes.INTERNAL_SERVER_ERROR and "Database error" in response.text


def _done(response: httpx.Response, *also: int) -> httpx.Response:
    """Raise an error with Airflow's text unless the request succeeded or has one of these statuses."""
    if response.is_success or response.status_code in also:
        return response
    raise RuntimeError(f"{response.request.url.path}: {response.status_code} {response.text}")


def _text_of(line: Any) -> str:
    """Return a structured log line as text.

    The type and the text of an error are in ``error_detail``, not in ``event``.
    """
    if not isinstance(line, dict):
        return str(line)
    errors = line.get("error_detail") or []
    return "\n".join([line.get("event", ""), *(f"{one['exc_type']}: {one['exc_value']}" for one in errors)])
