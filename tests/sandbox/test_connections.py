"""Cut and slow connections, over a real socket."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from airflow_provider_dingtalk.sandbox.app import create_app
from airflow_provider_dingtalk.sandbox.default import default_state
from tests.sandbox.raw_client import Clock, RawClient, action_of, rule


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(("when", "recalled"), [("before", False), ("after", True)])
def test_drop(client: RawClient, when: str, recalled: bool, reset: bool) -> None:
    [key] = client.create_messages("oto")
    client.faults(rule(match="batchRecall", when=when, times=1, action=action_of("drop", reset=reset)))
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        client.recall("oto", [key])
    assert client.recalled(key) is recalled
    assert client.recall("oto", [key]).json()["successResult"] == [key], "the next connection works"
    assert client.sandbox.state.journal.calls["robot/otoMessages/batchRecall"].cut == 1


def test_truncate(client: RawClient) -> None:
    [key] = client.create_messages("oto")
    client.faults(rule(action=action_of("truncate", bytes=9)))
    with pytest.raises(httpx.RemoteProtocolError, match="received 9 bytes"):
        client.recall("oto", [key])
    assert client.recalled(key)


def test_trickle_sends_the_whole_body(client: RawClient) -> None:
    keys = client.create_messages("oto", 20)
    client.faults(rule(action=action_of("trickle", bytes_per_second=20_000)))
    assert client.recall("oto", keys).json()["successResult"] == keys


CASES = [("before", False, False), ("after", False, True), ("before", True, True)]


@pytest.mark.parametrize(("when", "although_gone", "recalled"), CASES)
def test_delay_outlasts_a_timeout(client: RawClient, when: str, although_gone: bool, recalled: bool) -> None:
    [key] = client.create_messages("oto")
    client.faults(rule(when=when, action=action_of("delay", seconds=30, although_gone=although_gone)))
    client.http.timeout = httpx.Timeout(0.1)
    with pytest.raises(httpx.ReadTimeout):
        client.recall("oto", [key])
    client.http.timeout = httpx.Timeout(5)
    while len(client.control("GET", "journal")["requests"]) < 2:
        pass  # The journal has the call once the sandbox noticed the disconnect.
    assert client.recalled(key) is recalled


def test_delay_of_no_time_changes_nothing(client: RawClient) -> None:
    keys = client.create_messages("oto")
    client.faults(rule(action=action_of("delay", seconds=0)))
    assert client.recall("oto", keys).json()["successResult"] == keys


def test_in_process_a_drop_raises() -> None:
    state = default_state(now=Clock())
    state.faults.replace([rule(action="drop")])

    async def call() -> None:
        transport = httpx.ASGITransport(create_app(state))
        async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as http:
            await http.post("/v1.0/oauth2/accessToken", json={})

    with pytest.raises(ConnectionResetError):
        asyncio.run(call())
