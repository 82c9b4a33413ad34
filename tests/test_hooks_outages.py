"""Connections that are looked up while Airflow's API server is away."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import CommsDecoder, _ResponseFrame

from airflow_provider_dingtalk.exceptions import ConfigurationError
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from tests.clock import VirtualClock
from tests.support.airflow_seams import connection
from tests.support.outages import REFUSED, patient_server

pytestmark = pytest.mark.anyio

AWAY = {"error": "API_SERVER_ERROR", "detail": REFUSED, "type": "ErrorResponse"}
MISSING = {"error": "CONNECTION_NOT_FOUND", "detail": {"conn_id": "elsewhere"}, "type": "ErrorResponse"}


class Supervisor:
    """Supervisor at the other end of a task's stream, whose API server may be away.

    :param found: Answer to a look-up of the connection.
    :param away: Number of requests for it that fail first.
    """

    def __init__(self, sock: socket.socket, found: dict[str, Any], away: int) -> None:
        self._sock = sock
        self._found = found
        self._away = away
        self.asked = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def _serve(self) -> None:
        while head := self._read(4):
            number, body, *_ = msgspec.msgpack.decode(self._read(int.from_bytes(head, "big")))
            self._sock.sendall(self._answer(number, body["type"]).as_bytes())

    def _answer(self, number: int, kind: str) -> _ResponseFrame:
        if kind != "GetConnection":
            return _ResponseFrame(id=number)
        self.asked += 1
        if self.asked <= self._away:
            return _ResponseFrame(id=number, error=AWAY)
        return _ResponseFrame(id=number, body=self._found)

    def _read(self, size: int) -> bytes:
        found = b""
        while len(found) < size and (piece := self._sock.recv(size - len(found))):
            found += piece
        return found


@contextmanager
def task(monkeypatch: pytest.MonkeyPatch, found: dict[str, Any], away: int) -> Iterator[Supervisor]:
    """The stream between a task and its supervisor, as Airflow itself makes it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", CommsDecoder(socket=ours), raising=False)
        supervisor = Supervisor(theirs, found, away)
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
    hook._api_server = patient_server(clock)
    return hook


@pytest.mark.parametrize("away", [0, 1, 2, 7])
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_connection_is_waited_for_and_not_called_missing(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch, away: int, is_async: bool
) -> None:
    clock = VirtualClock()
    hook, began = hook_at(clock), clock.now()
    with task(monkeypatch, connection_result(sandbox), away):
        settings = await hook.asettings() if is_async else hook.settings()
    assert settings.host_label == sandbox.url
    # An attempt takes two requests: Airflow's look-up hides why it failed.
    assert clock.now() - began == away // 2


@pytest.mark.parametrize("is_async", [False, True])
async def test_after_the_wait_the_failure_is_one_that_may_pass(monkeypatch: pytest.MonkeyPatch, is_async: bool) -> None:
    clock = VirtualClock()
    hook, began = hook_at(clock), clock.now()
    with task(monkeypatch, MISSING, 10_000), pytest.raises(ConfigurationError, match="elsewhere") as raised:
        await hook.asettings() if is_async else hook.settings()
    assert not raised.value.permanent
    assert clock.now() - began == 120


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_connection_that_is_missing_is_missing_at_once(monkeypatch: pytest.MonkeyPatch, is_async: bool) -> None:
    clock = VirtualClock()
    hook, began = hook_at(clock), clock.now()
    with task(monkeypatch, MISSING, 0) as supervisor, pytest.raises(ConfigurationError) as raised:
        await hook.asettings() if is_async else hook.settings()
    assert raised.value.permanent
    assert (clock.now() - began, supervisor.asked) == (0, 2)
