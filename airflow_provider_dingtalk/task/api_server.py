"""Airflow's API server, and the wait for it while it is away.

Airflow's supervisor makes a task's requests, and tries each about 10 s by itself. A rolling restart takes longer.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar, cast

from airflow_provider_dingtalk.client.clock import Clock, SystemClock
from airflow_provider_dingtalk.language import get_logger
from airflow_provider_dingtalk.version_compat import conf

if TYPE_CHECKING:
    from airflow.sdk import Context

T = TypeVar("T")

log = get_logger(__name__)

#: Seconds for which a task waits for the API server; the default.
TIMEOUT = 120.0
#: Seconds between two attempts, in which the supervisor can send its heartbeat.
PAUSE = 1.0
#: Names of httpx's errors of a connection that failed or gave no answer in time.
_NO_ANSWER = frozenset(
    {"ConnectError", "ConnectTimeout", "ReadError", "ReadTimeout", "WriteError", "WriteTimeout", "CloseError"}
    | {"PoolTimeout", "ProxyError", "RemoteProtocolError"}
)
#: HTTP statuses below 500 that may pass.
_PASSING = (408, 429)


class ApiServer:
    """Airflow's API server, which may be away for a while.

    All requests of a task share one instance, so one outage is waited for once. During the wait no request passes,
    so that a job that writes before it calls makes no call.

    :param timeout: Seconds for which an outage is waited for; default ``[dingtalk] api_server_timeout``.
    :param clock: Source of time; default the system's.
    :param sleep: Function that sleeps for some seconds in :meth:`call`; default :func:`time.sleep`.
    """

    def __init__(
        self,
        timeout: float | None = None,
        *,
        clock: Clock | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._timeout = timeout
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._is_stopped = False
        #: Start of the outage, on the monotonic clock; None while the server answers.
        self._away_since: float | None = None

    def call(self, work: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Make requests to the API server, again from the first one while it is away.

        :param work: Sync function, whose repetition does no harm.
        :raises Exception: The error of ``work``, if it is no outage, or if the outage lasts longer than the timeout.
        """
        while True:
            with self._attempt():
                return work(*arguments, **named)
            self._sleep(PAUSE)

    async def acall(self, work: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Make requests to the API server from an event loop; see :meth:`call`."""
        while True:
            with self._attempt():
                return await work(*arguments)
            await self._clock.sleep(PAUSE)

    def stop(self) -> None:
        """Wait no longer, from now on. Safe to call from threads and signal handlers."""
        self._is_stopped = True

    @contextmanager
    def _attempt(self) -> Iterator[None]:
        """Note the end of an attempt; suppress an outage that is waited for."""
        try:
            yield
        except Exception as error:
            if not self._should_wait(error):
                raise
        else:
            self._note_answer()

    def _should_wait(self, error: Exception) -> bool:
        if self._is_stopped or not is_outage(error):
            return False
        if self._timeout is None:
            self._timeout = _timeout_option()
        if self._timeout <= 0:
            return False
        now, since = self._clock.monotonic(), self._away_since
        if since is None:
            self._away_since = since = now
            log.warning(
                "Airflow's API server is away (%s). Waiting up to %g s for it; no DingTalk call begins meanwhile.",
                _cause(error),
                self._timeout,
            )
        return now - since < self._timeout

    def _note_answer(self) -> None:
        if (since := self._away_since) is not None:
            self._away_since = None
            log.info("Airflow's API server answers again after %.0f s; going on.", self._clock.monotonic() - since)


def is_outage(error: Exception) -> bool:
    """Return True for an error that may pass when Airflow's API server is back.

    True for a failed connection, a timeout, and an answer of 408, 429, or 500 and more. False for every refusal, such
    as the 404 for a superseded try.
    """
    detail = _detail(error)
    status = detail.get("status_code") or getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return status >= 500 or status in _PASSING
    if detail.get("exception_type") == "HTTPStatusError":  # of a proxy, whose answer is not Airflow's JSON
        return str(detail.get("message")).startswith("Server error")
    # In dag.test(), which has no supervisor, the error is httpx's own.
    return detail.get("exception_type", type(error).__name__) in _NO_ANSWER


def is_not_found(error: Exception) -> bool:
    """Return True for Airflow's 404: of the supervisor, or unchanged in ``dag.test()``."""
    response = getattr(error, "response", None)
    return HTTPStatus.NOT_FOUND in (_detail(error).get("status_code"), getattr(response, "status_code", None))


def waiting_for_server(context: Context, server: ApiServer | None = None) -> Context:
    """Return a copy of a context whose task instance and task state store wait for the API server.

    :param server: API server; default None, which makes one, unless the context waits already.
    """
    if _SERVER in context:
        return context
    server = server or ApiServer()
    waiting: dict[str, Any] = {**context, _SERVER: server}
    for name in ("ti", "task_state_store"):
        if waiting.get(name) is not None:
            waiting[name] = _WaitsForServer(waiting[name], server)
    return cast("Context", waiting)


def api_server_of(context: Context) -> ApiServer:
    """Return the API server of a waiting context; a new one for any other context."""
    return cast("dict[str, Any]", context).get(_SERVER) or ApiServer()


def original_of(waiting: Any) -> Any:
    """Return Airflow's object behind one of a waiting context; every other object unchanged."""
    return waiting.original if isinstance(waiting, _WaitsForServer) else waiting


def note_interruption(context: Context, error: BaseException) -> None:
    """Wait no longer if an error is no ``Exception`` but an interruption, such as a timeout or a signal."""
    if not isinstance(error, Exception):
        api_server_of(context).stop()


#: Key of the API server in a waiting context.
_SERVER = "dingtalk_api_server"


class _WaitsForServer:
    """Airflow's object, all of whose methods wait for the API server."""

    def __init__(self, original: Any, server: ApiServer) -> None:
        self.original = original
        self._server = server

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.original, name)
        if not callable(found):
            return found
        return lambda *arguments, **named: self._server.call(found, *arguments, **named)


def _detail(error: Exception) -> dict[str, Any]:
    """Return what Airflow's supervisor reports of a failed request; empty for other errors."""
    detail = getattr(getattr(error, "error", None), "detail", None)
    return detail if isinstance(detail, dict) else {}


def _cause(error: Exception) -> str:
    """Return the short cause of an outage, without texts, which may hold URLs."""
    detail = _detail(error)
    return str(detail.get("status_code") or detail.get("exception_type") or type(error).__name__)


def _timeout_option() -> float:
    try:
        return float(conf.get("dingtalk", "api_server_timeout", fallback=TIMEOUT))
    except ValueError:
        log.warning("Invalid [dingtalk] api_server_timeout in airflow.cfg; expected seconds. Using %g.", TIMEOUT)
        return TIMEOUT
