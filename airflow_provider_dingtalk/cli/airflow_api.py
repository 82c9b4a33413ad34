"""Read-only client of Airflow's REST API, as far as the commands need.

https://airflow.apache.org/docs/apache-airflow/stable/stable-rest-api-ref.html
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
import msgspec
from msgspec import Struct

from airflow_provider_dingtalk.client.hosts import is_loopback
from airflow_provider_dingtalk.exceptions import AirflowRefusedError, AirflowUnreachableError, InvalidInputError
from airflow_provider_dingtalk.task.sent_messages import clean

URL_VARIABLE = "AIRFLOW_API_URL"
TOKEN_VARIABLE = "AIRFLOW_API_TOKEN"
USER_VARIABLE, PASSWORD_VARIABLE = "AIRFLOW_API_USERNAME", "AIRFLOW_API_PASSWORD"
#: Entries of one page; Airflow's default maximum is 100.
PAGE = 100
#: Timeout of one request in seconds.
DEADLINE = 30.0
#: Attempts of a request that fails temporarily, and seconds by which the pause grows with each attempt.
ATTEMPTS, PAUSE = 4, 0.5
_LOG_IN = f"Set {TOKEN_VARIABLE}, or {USER_VARIABLE} and {PASSWORD_VARIABLE}."


#: Maximum number of entries read of one list, so that an endless list ends in an error.
MAX_ENTRIES = 1_000_000
_T = TypeVar("_T")


class Run(Struct, frozen=True):
    """Ids of a run."""

    dag_id: str
    dag_run_id: str


class Task(Struct, frozen=True):
    """Id of a task of a run."""

    task_id: str


class XCom(Struct, frozen=True):
    """Ids of an XCom, without its value."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    key: str


class _Entry(Struct, frozen=True):
    task_id: str
    map_index: int
    key: str


class _Page(Struct, frozen=True):
    total_entries: int


class _Value(Struct, frozen=True):
    value: Any


class AirflowRest:
    """Read-only client of one Airflow's REST API.

    :param url: URL of the API server.
    :param sleep: Function that waits for a number of seconds; default ``time.sleep``.
    """

    def __init__(self, url: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._url = url.rstrip("/")
        self._sleep = sleep
        host = _host_of(self._url)
        # A redirect would send the token to another address, so none is followed. Loopback needs no proxy.
        self._http = _http_client(self._url, trust_env=not is_loopback(host))

    @classmethod
    def at(cls, url: str | None) -> Self:
        """Return a client that is logged in.

        :param url: URL of the API server; None for that of the environment or of airflow.cfg.
        :raises InvalidInputError: If the URL is invalid.
        :raises AirflowRefusedError: If Airflow refuses the login.
        :raises AirflowUnreachableError: If Airflow cannot be reached.
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

    def has_run(self, dag_id: str, run_id: str) -> bool:
        """Return True if the run exists."""
        answer = self._get(_path("dags", dag_id, "dagRuns", run_id))
        return answer is not None and bool(_converted(answer, Run))

    def runs(self, dag_id: str | None, **filters: Any) -> Iterator[Run]:
        """Yield the runs of a DAG.

        :param dag_id: Id of the DAG; None for all DAGs.
        :raises InvalidInputError: If there is no such DAG.
        """
        yield from self._pages(_path("dags", dag_id or "~", "dagRuns"), "dag_runs", Run, filters)

    def task_ids(self, dag_id: str, run_id: str) -> set[str]:
        """Return the ids of a run's tasks."""
        path = _path("dags", dag_id, "dagRuns", run_id, "taskInstances")
        return {task.task_id for task in self._pages(path, "task_instances", Task, {})}

    def xcoms(self, dag_id: str, run_id: str) -> list[XCom]:
        """List the XComs of a run's tasks, without their values."""
        path = _path("dags", dag_id, "dagRuns", run_id, "taskInstances", "~", "xcomEntries")
        found = self._pages(path, "xcom_entries", _Entry, {})
        return list(dict.fromkeys(XCom(dag_id, run_id, one.task_id, one.map_index, one.key) for one in found))

    def xcom_value(self, xcom: XCom) -> Any:
        """Return the value of an XCom; None if it was deleted meanwhile."""
        where = ("dags", xcom.dag_id, "dagRuns", xcom.run_id, "taskInstances", xcom.task_id)
        answer = self._get(_path(*where, "xcomEntries", xcom.key), map_index=xcom.map_index)
        return None if answer is None else _converted(answer, _Value).value

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────

    def _pages(self, path: str, name: str, kind: type[_T], filters: dict[str, Any]) -> Iterator[_T]:
        offset = 0
        while offset < MAX_ENTRIES:
            answer = self._get(path, limit=PAGE, offset=offset, **filters)
            if answer is None:
                raise InvalidInputError("--run, --dag", "Airflow knows no such DAG or run")
            total = _converted(answer, _Page).total_entries
            entries = _converted(answer.get(name), list[kind])  # type: ignore[valid-type]
            yield from entries
            offset += len(entries)
            if not entries or offset >= total:
                return
        raise _unexpected(f"Airflow lists more than {MAX_ENTRIES:,} entries.")

    def _get(self, path: str, **params: Any) -> dict[str, Any] | None:
        response = self._request("GET", f"/api/v2{path}", params=params)
        return None if response.status_code == httpx.codes.NOT_FOUND else _json(response)

    def _log_in(self) -> None:
        token = os.environ.get(TOKEN_VARIABLE)
        if not token:
            user, password = os.environ.get(USER_VARIABLE), os.environ.get(PASSWORD_VARIABLE)
            if user and password:
                response = self._request("POST", "/auth/token", json={"username": user, "password": password})
            else:  # Airflow gives a token without a login if all users are admins
                response = self._request("GET", "/auth/token")
            if response.status_code in (404, 405):
                raise AirflowRefusedError("Airflow wants a login.", code="not_logged_in", next_step=_LOG_IN)
            token = str(_json(response).get("access_token") or "")
        if not token.isascii() or not token.isprintable() or not token:
            raise AirflowRefusedError(
                "Invalid access token of Airflow; expected printable ASCII.", code="bad_token", next_step=_LOG_IN
            )
        self._http.headers["authorization"] = f"Bearer {token}"

    def _request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Send a request, with retries. They are safe, because requests only read or log in."""
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
        # In the handler the error's context would carry the request and its token, so this raises outside.
        raise AirflowUnreachableError(
            f"Airflow's API server at {_shown(self._url)} does not answer ({problem}).",
            code="airflow_unreachable",
            next_step=f"Give its address with --airflow-url or {URL_VARIABLE}.",
        )


def _http_client(url: str, *, trust_env: bool) -> httpx.Client:
    try:
        return httpx.Client(base_url=url, timeout=DEADLINE, follow_redirects=False, trust_env=trust_env)
    except (ValueError, ImportError):
        # In the handler the context's text would carry the proxy's password, so this raises outside.
        pass
    raise InvalidInputError("HTTP_PROXY, HTTPS_PROXY, ALL_PROXY", "one of them is no proxy that httpx can use")


def _checked(response: httpx.Response) -> httpx.Response:
    if response.status_code in (401, 403):
        raise AirflowRefusedError(
            f"Airflow refuses this login (HTTP {response.status_code}).", code="airflow_refused", next_step=_LOG_IN
        )
    if response.is_redirect or (response.is_client_error and response.status_code not in (404, 405)):
        raise _unexpected(f"Airflow answers HTTP {response.status_code}, which was not expected.")
    return response


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        # XComs of other tasks may hold Infinity or NaN, so this does not use msgspec.
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, dict):
        return body
    raise _unexpected("What answers at Airflow's address is no API server of Airflow 3.")


def _converted(answer: Any, kind: type[_T]) -> _T:
    """Convert an answer, or a part of it, to its expected type."""
    try:
        return msgspec.convert(answer, kind)
    except (msgspec.ValidationError, RecursionError):
        raise _unexpected("Airflow's API server leaves out, or changes, fields that the REST API has.") from None


def _unexpected(problem: str) -> AirflowUnreachableError:
    return AirflowUnreachableError(
        problem,
        code="airflow_unexpected",
        next_step="See whether --airflow-url is the address of an API server of Airflow 3.",
    )


def _path(*parts: str) -> str:
    """Return a path of the API. Run ids hold colons and pluses, so it is quoted."""
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
    return clean(url)
