"""State of sends that version 1 stored."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from airflow_provider_dingtalk.messages.message_types import send_requests_for
from airflow_provider_dingtalk.sandbox.default import ROBOT_CODE
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.task.checkpoint.send_version_1 import fingerprint_of
from airflow_provider_dingtalk.version_compat import AirflowFailException
from tests.support.airflow_seams import TaskStateStore
from tests.support.task_sends import STAYED, got, send, try_number

pytestmark = pytest.mark.usefixtures("hook")


@pytest.fixture
def sandbox(sandbox: SandboxServer) -> SandboxServer:
    """Make the sandbox refuse calls with an unknown recipient."""
    sandbox.state.behaviour = sandbox.state.behaviour.changed({"unknown_receivers": "refused"})
    return sandbox


# ── stored state ─────────────────────────────────────────────────────────────────────────────────────


def state_of_version_1(store: TaskStateStore, users: list[str], row: str, receipts: dict[str, Any]) -> None:
    send_requests = send_requests_for(
        "oto", user_ids=users, robot_code=ROBOT_CODE, text="hello", one_receipt_per_user=True
    )
    request = fingerprint_of(send_requests)
    store.set("dingtalk-send-1", [{"request": request, "letters": len(users), "epoch": 0, "done": False}])
    store.set(f"dingtalk-send-1-0-{request}-row-0", row)
    store.set(f"dingtalk-send-1-0-{request}-receipts-0", receipts)


def receipt_of_version_1(key: str) -> dict[str, Any]:
    receipt = {"version": 1, "kind": "oto", "robot_code": ROBOT_CODE, "process_query_key": key, "recipients": 1}
    return {"receipt": receipt, "dropped": {}}


@pytest.mark.parametrize("again", [1, 2])
def test_state_of_version_1_is_taken_over(sandbox: SandboxServer, again: int) -> None:
    store = TaskStateStore()
    state_of_version_1(store, STAYED, "SIP", {"0": receipt_of_version_1("first")})
    for _ in range(again):
        ti = try_number(2)
        with pytest.raises(AirflowFailException, match="unknown 1"):
            send(ti, store, STAYED)
        assert [one["to"] for one in ti.pushed("unknown")] == [["user002"]]
        assert ti.pushed("receipts_0")[0]["process_query_key"] == "first"
        assert got(sandbox) == Counter(["user003"]), "only the one that was not begun"


def test_state_of_version_1_of_another_list_is_not_misread(sandbox: SandboxServer) -> None:
    store = TaskStateStore()
    state_of_version_1(store, STAYED, "SIP", {"0": receipt_of_version_1("first")})
    ti = try_number(2)
    with pytest.raises(AirflowFailException, match="sent something else"):
        send(ti, store, list(reversed(STAYED)))
    assert [one["process_query_key"] for one in ti.pushed("receipts_0")] == ["first"]
    assert len(ti.pushed("unknown")) == 1
    assert got(sandbox) == Counter()
    cleared = try_number(3, clears=1)
    send(cleared, store, list(reversed(STAYED)))
    assert cleared.pushed("receipts_count") == 4
    assert len(cleared.pushed("unknown")) == 1
