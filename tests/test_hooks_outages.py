"""Connections that are looked up while Airflow's API server is away."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from airflow.sdk.execution_time.comms import CommsDecoder

from airflow_provider_dingtalk.exceptions import ConfigurationError
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from tests.clock import VirtualClock
from tests.support.airflow_seams import connection
from tests.support.outages import REFUSED, server_of_outages
from tests.support.supervisor import Supervisor, stream_of_process

pytestmark = pytest.mark.anyio

AWAY = {"error": "API_SERVER_ERROR", "detail": REFUSED, "type": "ErrorResponse"}
MISSING = {"error": "CONNECTION_NOT_FOUND", "detail": {"conn_id": "elsewhere"}, "type": "ErrorResponse"}


@contextmanager
def task(found: dict[str, Any], away: int) -> Iterator[Supervisor]:
    """The stream between a task and its supervisor, as Airflow itself makes it.

    :param found: Answer to a look-up of the connection.
    :param away: Number of requests for it that fail first.
    """

    def answer(request: dict[str, Any]) -> tuple[dict[str, Any] | None, Any]:
        if request["type"] != "GetConnection":
            return None, None
        return (None, AWAY) if supervisor.asked.count("GetConnection") <= away else (found, None)

    ours, theirs = socket.socketpair()
    with ours, theirs, stream_of_process(CommsDecoder(socket=ours)):
        supervisor = Supervisor(theirs, answer)
        try:
            yield supervisor
        finally:
            ours.shutdown(socket.SHUT_RDWR)
            supervisor.join()


def connection_result(sandbox: SandboxServer) -> dict[str, Any]:
    given = json.loads(connection(sandbox))
    extra = json.dumps(given.pop("extra"))
    fields = {"conn_id": "elsewhere", "conn_type": "dingtalk", "extra": extra}
    names = ("host", "login", "password", "schema", "port")
    return {**fields, **{name: given.get(name) for name in names}, "type": "ConnectionResult"}


def hook_at(clock: VirtualClock) -> DingTalkHook:
    hook = DingTalkHook("elsewhere")
    hook._api_server = server_of_outages(clock)
    return hook


@pytest.mark.parametrize("away", [0, 1, 2, 7])
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_connection_is_waited_for_and_not_called_missing(
    sandbox: SandboxServer, away: int, is_async: bool
) -> None:
    clock = VirtualClock()
    hook, began = hook_at(clock), clock.now()
    with task(connection_result(sandbox), away):
        settings = await hook.asettings() if is_async else hook.settings()
    assert settings.host_label == sandbox.url
    # An attempt takes two requests: Airflow's look-up hides why it failed.
    assert clock.now() - began == away // 2


@pytest.mark.parametrize("is_async", [False, True])
async def test_after_the_wait_the_failure_is_one_that_may_pass(is_async: bool) -> None:
    clock = VirtualClock()
    hook, began = hook_at(clock), clock.now()
    with task(MISSING, 10_000), pytest.raises(ConfigurationError, match="elsewhere") as raised:
        await hook.asettings() if is_async else hook.settings()
    assert not raised.value.permanent
    assert clock.now() - began == 120


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_connection_that_is_missing_is_missing_at_once(is_async: bool) -> None:
    clock = VirtualClock()
    hook, began = hook_at(clock), clock.now()
    with task(MISSING, 0) as supervisor, pytest.raises(ConfigurationError) as raised:
        await hook.asettings() if is_async else hook.settings()
    assert raised.value.permanent
    assert (clock.now() - began, supervisor.asked.count("GetConnection")) == (0, 2)
