"""Wait for Airflow's API server: which errors, how long, what it logs, and what ends it."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest
from airflow.sdk.exceptions import ErrorType

from airflow_provider_dingtalk.task.api_server import PAUSE, ApiServer, api_server_of, is_outage, waiting_for_server
from tests.clock import VirtualClock
from tests.support.airflow_seams import TaskInstance, TaskStateStore
from tests.support.outages import REFUSED, Away, server_of_outages, supervisor_error

LOGGER = "airflow_provider_dingtalk.task.api_server"


def answer(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://airflow")
    return httpx.HTTPStatusError("an answer", request=request, response=httpx.Response(status, request=request))


@pytest.mark.parametrize(
    "error",
    [
        supervisor_error(),
        *(supervisor_error({**REFUSED, "exception_type": name}) for name in ("ReadTimeout", "RemoteProtocolError")),
        *(supervisor_error({"status_code": status, "message": "", "detail": None}) for status in (500, 503, 429, 408)),
        supervisor_error({**REFUSED, "exception_type": "HTTPStatusError", "message": "Server error '502 Bad Gateway'"}),
        httpx.ConnectError("refused"),
        answer(503),
    ],
)
def test_an_outage_may_pass(error: Exception) -> None:
    assert is_outage(error)


@pytest.mark.parametrize(
    "error",
    [
        *(supervisor_error({"status_code": status, "message": "", "detail": None}) for status in (400, 404, 409, 422)),
        supervisor_error({**REFUSED, "exception_type": "HTTPStatusError", "message": "Client error '404 Not Found'"}),
        *(
            supervisor_error({**REFUSED, "exception_type": name})
            for name in ("ValidationError", "UnsupportedProtocol", None)
        ),
        supervisor_error({}, getattr(ErrorType, "PERMISSION_DENIED", ErrorType.GENERIC_ERROR)),  # the first from 3.2 on
        answer(404),
        RuntimeError("503 Service Unavailable"),
        ValueError("Cannot set value as None"),
        EOFError("Request socket closed before length"),
    ],
)
def test_a_refusal_and_an_error_of_ours_do_not_pass_by_waiting(error: Exception) -> None:
    assert not is_outage(error)
    attempts: list[None] = []

    def work() -> None:
        attempts.append(None)
        raise error

    with pytest.raises(type(error)):
        server_of_outages(VirtualClock()).call(work)
    assert len(attempts) == 1


def test_it_goes_on_when_the_server_is_back_and_logs_once_each(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    store = Away(TaskStateStore(), clock)
    store.leave(12)
    server = server_of_outages(clock)
    with caplog.at_level(logging.INFO, LOGGER):
        server.call(store.set, "key", 1)
        assert server.call(store.get, "key") == 1
    began, ended = (record.getMessage() for record in caplog.records)
    assert "ConnectError" in began and "120 s" in began and "refused" not in began
    assert "after 12 s" in ended
    assert store.attempts == 12 / PAUSE + 2


@pytest.mark.anyio
async def test_an_event_loop_waits_alike() -> None:
    clock = VirtualClock()
    server = ApiServer(30, clock=clock)
    away = Away(TaskStateStore(), clock)

    async def get() -> Any:
        return away.get("key", "nothing")

    away.leave(12)
    assert await server.acall(get) == "nothing"
    away.leave(40)
    began = clock.now()
    with pytest.raises(Exception, match="API_SERVER_ERROR"):
        await server.acall(get)
    assert clock.now() - began == 30


def test_one_outage_is_waited_for_once_and_the_next_one_anew() -> None:
    clock = VirtualClock()
    store, began = Away(TaskStateStore(), clock), clock.now()
    server = server_of_outages(clock, 60)
    store.leave(100)
    for _ in range(2):
        with pytest.raises(Exception, match="API_SERVER_ERROR"):
            server.call(store.get, "key")
        assert clock.now() - began == 60, "the second request does not wait again"
    clock.advance(40)
    server.call(store.get, "key")
    store.leave(50)
    server.call(store.get, "key")
    assert clock.now() - began == 150


@pytest.mark.parametrize("timeout", [0, -1])
def test_without_a_timeout_it_does_not_wait(timeout: float, caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    store = Away(TaskStateStore(), clock)
    store.leave(1)
    with pytest.raises(Exception, match="API_SERVER_ERROR"):
        server_of_outages(clock, timeout).call(store.get, "key")
    assert store.attempts == 1
    assert not caplog.records


def test_stopped_it_ends_at_the_next_attempt_and_never_waits_again() -> None:
    clock = VirtualClock()
    store = Away(TaskStateStore(), clock)
    store.leave(1000)

    def sleep(seconds: float) -> None:
        clock.advance(seconds)
        if store.attempts == 5:
            server.stop()

    server = ApiServer(120, clock=clock, sleep=sleep)
    with pytest.raises(Exception, match="API_SERVER_ERROR"):
        server.call(store.get, "key")
    assert store.attempts == 6
    with pytest.raises(Exception, match="API_SERVER_ERROR"):
        server.call(store.get, "key")
    assert store.attempts == 7


def test_an_interruption_ends_the_wait_at_once() -> None:
    class Interruption(BaseException):
        pass

    def sleep(seconds: float) -> None:
        raise Interruption

    store = Away(TaskStateStore(), clock := VirtualClock())
    store.leave(1000)
    with pytest.raises(Interruption):
        ApiServer(120, clock=clock, sleep=sleep).call(store.get, "key")
    assert store.attempts == 1


def test_a_waiting_context_waits_with_its_task_instance_and_its_store() -> None:
    clock = VirtualClock()
    ti, store = Away(TaskInstance("send"), clock), Away(TaskStateStore(), clock)
    original: Any = {"ti": ti, "task_state_store": store, "run_id": "run"}
    context: Any = waiting_for_server(original, server_of_outages(clock))
    ti.leave(12)
    context["ti"].xcom_push("key", 1)
    assert ti.pushed("key") == 1
    store.leave(12)
    context["task_state_store"].set("key", 2)
    assert context["task_state_store"].get("key") == 2
    assert (context["ti"].task_id, context["run_id"]) == ("send", "run")
    assert not hasattr(context["ti"], "get_task_breadcrumbs"), "of another Airflow"
    assert original["ti"] is ti
    api_server_of(context).stop()
    ti.leave(12)
    with pytest.raises(Exception, match="API_SERVER_ERROR"):
        context["ti"].xcom_push("key", 3)


def test_a_context_of_an_airflow_without_a_store_stays_without() -> None:
    context = waiting_for_server({"ti": TaskInstance()}, ApiServer(0))  # type: ignore[typeddict-item]
    assert context.get("task_state_store") is None
    assert waiting_for_server(context, ApiServer(1)) is context, "one wait for one task"


@pytest.mark.parametrize(("option", "seconds"), [("12", 12), ("0", 0), ("two minutes", 120), (None, 120)])
def test_the_option_of_airflow_cfg_says_how_long(
    monkeypatch: pytest.MonkeyPatch, option: str | None, seconds: int
) -> None:
    if option is not None:
        monkeypatch.setenv("AIRFLOW__DINGTALK__API_SERVER_TIMEOUT", option)
    clock = VirtualClock()
    store, began = Away(TaskStateStore(), clock), clock.now()
    store.leave(1000)
    with pytest.raises(Exception, match="API_SERVER_ERROR"):
        ApiServer(clock=clock, sleep=clock.advance).call(store.get, "key")
    assert clock.now() - began == seconds
