"""Wait specs: messages of several connections, each polled with the connection of its receipt."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.sandbox.default import (
    OTHER_CLIENT_ID,
    OTHER_CLIENT_SECRET,
    OTHER_ROBOT_CODE,
)
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.task.checkpoint.store import fingerprint
from airflow_provider_dingtalk.task.wait_spec import WaitSpec, wait_spec_of_receipts
from airflow_provider_dingtalk.version_compat import AirflowFailException
from tests.support.airflow_seams import connection, key_of, planted
from tests.support.sensors import MODES, end_of, not_at_first, sensor_of
from tests.support.triggers import wait_spec

OTHER = "dingtalk_other"


@pytest.fixture
def receipts(sandbox: SandboxServer, hook: DingTalkHook, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A message of version 1, without a connection, and one of another app."""
    app = {"login": OTHER_CLIENT_ID, "password": OTHER_CLIENT_SECRET}
    other = connection(sandbox, extra={"robot_code": OTHER_ROBOT_CODE}, **app)
    monkeypatch.setenv("AIRFLOW_CONN_DINGTALK_OTHER", other)
    (ours,) = planted(sandbox, "private_chat")
    (theirs,) = planted(sandbox, "private_chat", robot_code=OTHER_ROBOT_CODE)
    return [ours, {**theirs, "version": 2, "conn_id": OTHER, "robot_code": OTHER_ROBOT_CODE}]


@pytest.mark.parametrize("looks", [1, 2])
@pytest.mark.parametrize("mode", MODES)
def test_each_message_is_asked_for_by_its_own_connection(
    sandbox: SandboxServer, receipts: list[dict[str, Any]], mode: str, looks: int
) -> None:
    if looks == 2:
        not_at_first(sandbox)
    found = end_of(sensor_of(mode, receipts))
    assert [entry["send_status"] for entry in found] == ["SUCCESS", "SUCCESS"]
    assert [entry["key"] for entry in found] == [key_of(receipt) for receipt in receipts]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("gone", ["missing", "dingtalk_broken"])
def test_a_connection_that_is_gone_costs_only_its_own_messages(
    sandbox: SandboxServer,
    receipts: list[dict[str, Any]],
    mode: str,
    gone: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DINGTALK_BROKEN", connection(sandbox, password=""))
    receipts[1]["conn_id"] = gone
    (found,) = end_of(sensor_of(mode, receipts, match="any"))
    assert found["key"] == key_of(receipts[0])
    with pytest.raises(AirflowFailException):
        end_of(sensor_of(mode, receipts))


@pytest.mark.parametrize("mode", MODES)
def test_the_sensors_own_connection_may_be_gone_if_no_message_needs_it(
    sandbox: SandboxServer, receipts: list[dict[str, Any]], mode: str
) -> None:
    (found,) = end_of(sensor_of(mode, receipts[1:], dingtalk_conn_id="missing"))
    assert found["key"] == key_of(receipts[1])


def test_a_watch_keeps_connections_and_reads_what_was_written_before(receipts: list[dict[str, Any]]) -> None:
    wait_spec = wait_spec_of_receipts(receipts)
    plain = wait_spec.to_json()
    assert WaitSpec.from_json(plain) == wait_spec
    assert [run["conn_id"] for run in plain["messages"]] == [None, OTHER]
    for run in plain["messages"]:
        del run["conn_id"]
    assert {target.conn_id for target in WaitSpec.from_json(plain).targets} == {None}
    assert fingerprint(plain) != fingerprint(wait_spec.to_json())


def test_the_same_wish_gives_the_same_arguments(sandbox: SandboxServer) -> None:
    receipts = planted(sandbox, "private_chat")
    statuses = ["SUCCESS", "PROCESSING", "RECALLED"]
    wishes = [wait_spec(receipts, send_statuses=order) for order in (statuses, statuses[::-1], set(statuses))]
    assert wishes[0] == wishes[1] == wishes[2]
    # Between processes, too, where sets have another order.
    assert wishes[0]["condition"]["send_statuses"] == sorted(statuses)


def test_a_deferred_trigger_of_before_is_read_by_the_names_it_was_stored_with() -> None:
    receipt = {"kind": "oto", "robot_code": "robot", "process_query_key": "key"}
    stored = wait_spec_of_receipts([receipt]).to_json()
    sender = {"kind": "oto", "robot_code": "robot", "agent_id": None, "open_conversation_id": None}
    of_one = {"group": sender, "keys": ["key"], "sent": [None], "recipients": [None], "conn_id": None}
    assert stored["messages"] == [of_one]
    assert WaitSpec.from_json(stored) == wait_spec_of_receipts([receipt])
