"""Sandboxes for tests."""

from __future__ import annotations

import httpx
import pytest

from airflow_provider_dingtalk.sandbox.faults import Drop, Rule
from airflow_provider_dingtalk.sandbox.testing import connection_to, running_sandbox
from tests.sandbox.raw_client import RawClient


def test_two_sandboxes_at_once(client: RawClient) -> None:
    with running_sandbox() as other:
        client.create_messages("group")
        assert other.url != client.sandbox.url and other.snapshot()["counts"] == {}
        assert other.connection()["host"] == other.url
        assert httpx.get(f"{other.url}/_sandbox/clock", trust_env=False).status_code == 200


def test_server_ends_with_its_context() -> None:
    with running_sandbox() as sandbox:
        url = sandbox.url
        assert httpx.get(f"{url}/_sandbox/clock", trust_env=False).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/_sandbox/clock", trust_env=False)


def test_faults_are_given_as_json_or_structs() -> None:
    with running_sandbox() as sandbox:
        sandbox.faults({"action": {"type": "drop"}}, Rule(action=Drop(reset=True)))
        assert [rule.action for rule in sandbox.state.faults.rules] == [Drop(), Drop(reset=True)]
        sandbox.faults()
        assert sandbox.state.faults.rules == []


def test_connection_names_the_default_app() -> None:
    connection = connection_to("http://127.0.0.1:1")
    assert (connection["conn_type"], connection["host"]) == ("dingtalk", "http://127.0.0.1:1")
    expected = ("dingsandbox", {"robot_code": "dingsandbox", "agent_id": "1000001"})
    assert (connection["login"], connection["extra"]) == expected
