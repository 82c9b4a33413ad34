"""Client of Airflow's REST API, as far as the commands need.

https://airflow.apache.org/docs/apache-airflow/stable/stable-rest-api-ref.html
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Self, TypeVar
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
TIMEOUT = 30.0
#: Attempts of a request that fails temporarily, and seconds by which the pause grows with each attempt.
ATTEMPTS, PAUSE = 4, 0.5
#: Maximum number of entries read of one list, so that an endless list ends in an error.
MAX_ENTRIES = 1_000_000
_LOG_IN = f"Set {TOKEN_VARIABLE}, or {USER_VARIABLE} and {PASSWORD_VARIABLE}."
_LOG_IN_ZH = f"请设置 {TOKEN_VARIABLE}，或 {USER_VARIABLE} 与 {PASSWORD_VARIABLE}。"
_T = TypeVar("_T")


class Run(Struct, frozen=True):
    """Ids and end of a run.

    :param end_date: End as Airflow writes it; None if the run has not ended.
    """

    dag_id: str
    dag_run_id: str
    end_date: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class Task(Struct, frozen=True):
    """Id of a task of a run."""

    task_id: str


class XCom(Struct, frozen=True):
    """Ids of an XCom inside its run, without its value."""

    task_id: str
    map_index: int
    key: str


class Asset(Struct, frozen=True):
    """Id and URI of an asset."""

    id: int
    uri: str


class AssetEvent(Struct, frozen=True):
    """Event of an asset, with the task that made it."""

    source_dag_id: str | None = None
    source_run_id: str | None = None
    source_task_id: str | None = None
    extra: dict[str, Any] | None = None


class AirflowRest:
    """Client of one Airflow's REST API.

    :param url: URL of the API server.
    :param attempts: Maximum number of attempts of a request; default 4.
    :param sleep: Function that waits for a number of seconds; default ``time.sleep``.
    :raises InvalidInputError: If the URL or an environment variable with a proxy is invalid.
    """

    def __init__(self, url: str, *, attempts: int = ATTEMPTS, sleep: Callable[[float], None] = time.sleep) -> None:
        self.url = url.rstrip("/")
        self._attempts = attempts
        self._sleep = sleep
        self._http = _http_client(self.url)

    @classmethod
    def at(cls, url: str | None) -> Self:
        """Return a client that is logged in.

        :param url: URL of the API server; None for that of the environment or of airflow.cfg.
        :raises InvalidInputError: If the URL is invalid.
        :raises AirflowRefusedError: If Airflow refuses the login.
        :raises AirflowUnreachableError: If Airflow cannot be reached.
        """
        rest = cls(url or os.environ.get(URL_VARIABLE) or _configured_url())
        rest.log_in(os.environ)
        return rest

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def log_in(self, env: Mapping[str, str]) -> None:
        """Log in with the token, or the user and password, of environment variables.

        :raises AirflowRefusedError: If Airflow refuses the login.
        :raises AirflowUnreachableError: If Airflow cannot be reached.
        """
        token = env.get(TOKEN_VARIABLE) or self._new_token(env.get(USER_VARIABLE), env.get(PASSWORD_VARIABLE))
        if not (token and token.isascii() and token.isprintable()):
            problem = "Invalid access token of Airflow; expected printable ASCII."
            raise _refused(problem, "bad_token")
        self._http.headers["authorization"] = f"Bearer {token}"

    def _new_token(self, user: str | None, password: str | None) -> str:
        if user and password:
            response = self._request("POST", "/auth/token", json={"username": user, "password": password})
        else:  # Airflow gives a token without a login if all users are admins
            response = self._request("GET", "/auth/token")
        if response.status_code in (404, 405):
            raise _refused("Airflow wants a login.", "not_logged_in")
        return str(_json(response).get("access_token") or "")

    def run(self, dag_id: str, run_id: str) -> Run | None:
        """Return a run; None if it does not exist."""
        answer = self._get(path_of("dags", dag_id, "dagRuns", run_id))
        run: Run | None = None if answer is None else _field({"run": answer}, "run", Run)
        return run

    def runs(self, dag_id: str | None, **filters: Any) -> Iterator[Run]:
        """Yield the runs of a DAG.

        :param dag_id: Id of the DAG; None for all DAGs.
        :raises InvalidInputError: If there is no such DAG.
        """
        path, shown = path_of("dags", dag_id or "~", "dagRuns"), clean(dag_id or "")
        missing = InvalidInputError("--dag", f"Airflow knows no DAG {shown!r}", f"Airflow 中没有 DAG {shown!r}")
        yield from self._pages(path, "dag_runs", Run, missing, **filters)

    def task_ids(self, run: Run) -> set[str]:
        """Return the ids of a run's tasks."""
        return {task.task_id for task in self._pages(_path_of_tasks(run), "task_instances", Task)}

    def xcoms(self, run: Run, task_id: str = "~") -> list[XCom]:
        """List the XComs of a run's tasks, without their values.

        :param task_id: Id of the task; default all tasks of the run.
        """
        return list(dict.fromkeys(self._pages(_path_of_tasks(run, task_id, "xcomEntries"), "xcom_entries", XCom)))

    def asset_events(self, uri: str, after: str | None = None) -> Iterator[AssetEvent]:
        """Yield the events of an asset; none if Airflow has no such asset.

        :param uri: URI of the asset.
        :param after: Moment in ISO 8601; default None, all events.
        """
        since: dict[str, Any] = {"timestamp_gte": after} if after else {}
        for asset in self._pages("/assets", "assets", Asset, uri_pattern=uri, only_active=False):
            if asset.uri == uri:  # Airflow takes a percent sign and an underscore in the pattern for wildcards.
                yield from self._pages("/assets/events", "asset_events", AssetEvent, asset_id=asset.id, **since)

    def xcom_value(self, run: Run, xcom: XCom, **options: Any) -> Any:
        """Return the value of an XCom; None if it does not exist."""
        path = _path_of_tasks(run, xcom.task_id, "xcomEntries", xcom.key)
        answer = self._get(path, map_index=xcom.map_index, **options)
        return None if answer is None else _field(answer, "value", Any)

    def _pages(
        self, path: str, name: str, kind: type[_T], missing: InvalidInputError | None = None, **filters: Any
    ) -> Iterator[_T]:
        offset = 0
        while offset < MAX_ENTRIES:
            answer = self._get(path, limit=PAGE, offset=offset, **filters)
            if answer is None:
                raise missing or InvalidInputError(
                    "--run, --dag", "Airflow knows no such DAG or run", "Airflow 中没有该 DAG 或运行"
                )
            total = _field(answer, "total_entries", int)
            entries: list[_T] = _field(answer, name, list[kind])  # type: ignore[valid-type]
            yield from entries
            offset += len(entries)
            if not entries or offset >= total:
                return
        raise _unexpected(
            f"Airflow lists more than {MAX_ENTRIES:,} entries.", f"Airflow 列出的条目超过 {MAX_ENTRIES:,} 个。"
        )

    def _get(self, path: str, **params: Any) -> dict[str, Any] | None:
        response = self._request("GET", f"/api/v2{path}", params=params)
        return None if response.status_code == httpx.codes.NOT_FOUND else _json(response)

    def _request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Send a request, with retries. The caller sends only requests that can be repeated."""
        problem = ""
        for attempt in range(self._attempts):
            if attempt:
                self._sleep(PAUSE * attempt)
            try:
                response = self._http.request(method, path, **more)
            except httpx.HTTPError as error:
                problem = type(error).__name__
                continue
            if not response.is_server_error:
                return self._checked(response)
            problem = f"HTTP {response.status_code}"
        # In the handler the error's context would carry the request and its token, so this raises outside.
        raise AirflowUnreachableError(
            f"Airflow's API server at {clean(self.url)} does not answer ({problem}).",
            message_zh=f"Airflow 的 API server（{clean(self.url)}）没有响应（{problem}）。",
            code="airflow_unreachable",
            next_step=f"Give its address with --airflow-url or {URL_VARIABLE}.",
            next_step_zh=f"请用 --airflow-url 或 {URL_VARIABLE} 指定其地址。",
        )

    def _checked(self, response: httpx.Response) -> httpx.Response:
        status = response.status_code
        if status in (401, 403):
            problem, zh = f"Airflow refuses this login (HTTP {status}).", f"Airflow 拒绝此登录（HTTP {status}）。"
            raise _refused(problem, "airflow_refused", zh)
        if response.is_redirect or (response.is_client_error and status not in (404, 405)):
            raise _unexpected(
                f"Airflow answers HTTP {status}, which was not expected.", f"Airflow 意外返回 HTTP {status}。"
            )
        return response


def path_of(*parts: str) -> str:
    """Return a quoted path of the API. Run ids hold colons and pluses."""
    return "".join("/" + quote(part, safe="~") for part in parts)


def _path_of_tasks(run: Run, *parts: str) -> str:
    return path_of("dags", run.dag_id, "dagRuns", run.dag_run_id, "taskInstances", *parts)


def _http_client(url: str) -> httpx.Client:
    # A redirect would send the token to another address, so none is followed. Loopback needs no proxy.
    options: dict[str, Any] = {"follow_redirects": False, "trust_env": not is_loopback(_host_of(url))}
    try:
        return httpx.Client(base_url=url, timeout=TIMEOUT, **options)
    except (ValueError, ImportError):
        # In the handler the context's text would carry the proxy's password, so this raises outside.
        pass
    raise InvalidInputError("HTTP_PROXY, HTTPS_PROXY, ALL_PROXY", "one of them is no proxy that httpx can use")


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        # XComs of other tasks may hold Infinity or NaN, so this does not use msgspec.
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, dict):
        return body
    raise _unexpected("What answers at Airflow's address is no API server of Airflow 3.")


def _field(answer: dict[str, Any], name: str, kind: type[_T] | Any) -> Any:
    """Return a field of an answer, converted to its expected type."""
    try:
        return msgspec.convert(answer[name], kind)
    except (KeyError, msgspec.ValidationError, RecursionError):
        raise _unexpected("Airflow's API server leaves out, or changes, fields that the REST API has.") from None


def _refused(problem: str, code: str, zh: str = "") -> AirflowRefusedError:
    return AirflowRefusedError(problem, code=code, next_step=_LOG_IN, next_step_zh=_LOG_IN_ZH, message_zh=zh)


def _unexpected(problem: str, zh: str = "") -> AirflowUnreachableError:
    return AirflowUnreachableError(
        problem,
        message_zh=zh,
        code="airflow_unexpected",
        next_step="See whether --airflow-url is the address of an API server of Airflow 3.",
        next_step_zh="请确认 --airflow-url 是 Airflow 3 的 API server 的地址。",
    )


def _configured_url() -> str:
    from airflow_provider_dingtalk.version_compat import conf

    return conf.get("api", "base_url", fallback="") or "http://localhost:8080"


def _host_of(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidInputError("--airflow-url", "is no http or https address", "不是 http 或 https 地址")
    if parsed.userinfo:
        raise InvalidInputError("--airflow-url", f"holds a login; {_LOG_IN}", f"含有登录信息；{_LOG_IN_ZH}")
    return parsed.host
