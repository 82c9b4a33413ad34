"""Airflow's REST API, as much of it as the commands read. Nothing is changed there.

https://airflow.apache.org/docs/apache-airflow/stable/stable-rest-api-ref.html
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from airflow_provider_dingtalk.api.errors import InvalidInputError
from airflow_provider_dingtalk.api.hosts import is_loopback
from airflow_provider_dingtalk.cli.exits import AirflowRefusedError, AirflowUnreachableError

URL_VARIABLE = "AIRFLOW_API_URL"
TOKEN_VARIABLE = "AIRFLOW_API_TOKEN"
USER_VARIABLE, PASSWORD_VARIABLE = "AIRFLOW_API_USERNAME", "AIRFLOW_API_PASSWORD"
#: Entries of one answer; Airflow gives 100 at most unless told otherwise.
PAGE = 100
#: Seconds for one answer.
DEADLINE = 30.0
#: Attempts of a request that fails for now, and seconds between them.
ATTEMPTS, PAUSE = 4, 0.5
_LOG_IN = f"Set {TOKEN_VARIABLE}, or {USER_VARIABLE} and {PASSWORD_VARIABLE}."


class AirflowRest:
    """A reader of one Airflow's REST API.

    :param url: Of the API server.
    :param sleep: Waits so many seconds.
    """

    def __init__(self, url: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._url = url.rstrip("/")
        self._sleep = sleep
        host = _host_of(self._url)
        # Redirects are not followed: the token must not go elsewhere. No proxy stands before loopback.
        self._http = httpx.Client(
            base_url=self._url, timeout=DEADLINE, follow_redirects=False, trust_env=not is_loopback(host)
        )

    @classmethod
    def at(cls, url: str | None) -> Self:
        """The one at a URL, or else at that of the environment or of airflow.cfg; logged in.

        :raises InvalidInputError: The URL is none.
        :raises AirflowRefusedError: It refuses the login.
        :raises AirflowUnreachableError: It cannot be reached.
        """
        rest = cls(url or os.environ.get(URL_VARIABLE) or _configured_url())
        rest._log_in()
        return rest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    # ── what there is to read ────────────────────────────────────────────────────────────────────────

    def run(self, dag_id: str, run_id: str) -> dict[str, Any] | None:
        """A run; None if there is none."""
        return self._get(_path("dags", dag_id, "dagRuns", run_id))

    def runs(self, dag_id: str | None, **filters: Any) -> Iterator[dict[str, Any]]:
        """The runs of a DAG, or of all DAGs.

        :raises InvalidInputError: There is no such DAG.
        """
        yield from self._pages(_path("dags", dag_id or "~", "dagRuns"), "dag_runs", filters)

    def task_ids(self, dag_id: str, run_id: str) -> set[str]:
        """The tasks of a run."""
        path = _path("dags", dag_id, "dagRuns", run_id, "taskInstances")
        return {task["task_id"] for task in self._pages(path, "task_instances", {})}

    def xcoms(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Which XComs the tasks of a run left, without their values."""
        path = _path("dags", dag_id, "dagRuns", run_id, "taskInstances", "~", "xcomEntries")
        found = {
            (one["task_id"], one["map_index"], one["key"]): one for one in self._pages(path, "xcom_entries", {})
        }
        return list(found.values())

    def xcom_value(self, entry: dict[str, Any]) -> Any:
        """The value of one of :meth:`xcoms`; None if it is gone meanwhile."""
        path = _path(
            "dags",
            entry["dag_id"],
            "dagRuns",
            entry["run_id"],
            "taskInstances",
            entry["task_id"],
            "xcomEntries",
            entry["key"],
        )
        answer = self._get(path, map_index=entry["map_index"])
        return None if answer is None else answer["value"]

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────

    def _pages(self, path: str, name: str, filters: dict[str, Any]) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            page = self._get(path, limit=PAGE, offset=offset, **filters)
            if page is None:
                raise InvalidInputError("--run, --dag", "Airflow knows no such DAG or run")
            yield from page[name]
            offset += len(page[name])
            if not page[name] or offset >= page["total_entries"]:
                return

    def _get(self, path: str, **params: Any) -> dict[str, Any] | None:
        response = self._request("GET", f"/api/v2{path}", params=params)
        return None if response.status_code == httpx.codes.NOT_FOUND else _json(response)

    def _log_in(self) -> None:
        token = os.environ.get(TOKEN_VARIABLE)
        if not token:
            user, password = os.environ.get(USER_VARIABLE), os.environ.get(PASSWORD_VARIABLE)
            if user and password:
                response = self._request("POST", "/auth/token", json={"username": user, "password": password})
            else:  # where everybody is admin
                response = self._request("GET", "/auth/token")
            if response.status_code in (404, 405):
                raise AirflowRefusedError("Airflow wants a login.", code="not_logged_in", next_step=_LOG_IN)
            token = str(_json(response).get("access_token") or "")
        if not token.isascii() or not token.isprintable() or not token:
            raise AirflowRefusedError("The access token of Airflow is none.", code="bad_token", next_step=_LOG_IN)
        self._http.headers["authorization"] = f"Bearer {token}"

    def _request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Ask, and again where that may help: every request here only reads."""
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._sleep(PAUSE * attempt)
            try:
                response = self._http.request(method, path, **more)
            except httpx.HTTPError as error:
                problem = type(error).__name__
                continue
            if not response.is_server_error:
                return _checked(response)
            problem = f"HTTP {response.status_code}"
        # Outside the handler: the error's context would carry the request, and with it the token.
        raise AirflowUnreachableError(
            f"Airflow's API server at {_shown(self._url)} does not answer ({problem}).",
            code="airflow_unreachable",
            next_step=f"Give its address with --airflow-url or {URL_VARIABLE}.",
        )


def _checked(response: httpx.Response) -> httpx.Response:
    if response.status_code in (401, 403):
        raise AirflowRefusedError(
            f"Airflow refuses this login (HTTP {response.status_code}).", code="airflow_refused", next_step=_LOG_IN
        )
    if response.is_redirect or (response.is_client_error and response.status_code not in (404, 405)):
        raise AirflowUnreachableError(
            f"Airflow answers HTTP {response.status_code}, which was not expected.",
            code="airflow_unexpected",
            next_step="See whether --airflow-url is the address of its API server.",
        )
    return response


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        body = None
    if isinstance(body, dict):
        return body
    raise AirflowUnreachableError(
        "What answers at Airflow's address is no API server of Airflow 3.",
        code="airflow_unexpected",
        next_step="See whether --airflow-url is the address of its API server.",
    )


def _path(*parts: str) -> str:
    """A path of the API; run ids hold colons and pluses."""
    return "".join("/" + quote(part, safe="~") for part in parts)


def _configured_url() -> str:
    from airflow_provider_dingtalk.version_compat import conf

    return conf.get("api", "base_url", fallback="") or "http://localhost:8080"


def _host_of(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidInputError("--airflow-url", "is no http or https address")
    if parsed.userinfo:
        raise InvalidInputError("--airflow-url", f"holds a login; {_LOG_IN}")
    return parsed.host


def _shown(url: str) -> str:
    return url[:200]
