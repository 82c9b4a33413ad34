"""Control API: snapshot, reset, behaviour, faults, and refused requests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_dingtalk.sandbox.console import console_routes
from airflow_provider_dingtalk.sandbox.control import control_routes
from airflow_provider_dingtalk.sandbox.default import default_state
from tests.sandbox.raw_client import RawClient

DOCS = Path(__file__).parents[2] / "docs" / "sandbox.md"


def test_snapshot(client: RawClient) -> None:
    keys = client.create_messages("oto", 3, age_seconds=60, text="planted here")
    client.recall("oto", keys[:1])
    client.recall("oto", ["unknown"])
    snapshot = client.control("GET", "truth")
    assert snapshot["counts"] == {"oto": {"sent": 3, "recalled": 1, "visible": 2}}
    calls = snapshot["calls"]["robot/otoMessages/batchRecall"]
    assert calls == {"total": 2, "throttled": 0, "refused": 1, "cut": 0}
    first = snapshot["messages"][0]
    assert (first["key"], first["sent_at"], first["recalled_at"]) == (
        keys[0],
        client.clock.time - 60,
        client.clock.time,
    )
    assert (first["text"], first["recalls"], snapshot["people"]) == ("planted here", 1, 60)
    assert {chat["open_conversation_id"] for chat in snapshot["conversations"]} >= {"cidgroup1", "cidprivate1"}
    assert set(client.control("GET", "truth?brief=1")) == {"time", "counts", "calls"}
    assert client.sandbox.snapshot(brief=True)["counts"] == snapshot["counts"]


def test_reset(client: RawClient) -> None:
    client.create_messages("group", 2)
    client.faults({"action": {"type": "drop"}})
    client.control("POST", "clock", {"advance": 99})
    client.behave(unfit_keys="per_key")
    assert client.control("POST", "reset")["counts"] == {}
    state = client.sandbox.state
    assert (state.messages, state.faults.rules, state.clock_offset, state.tokens) == ({}, [], 0, {})
    assert state.behaviour.unfit_keys == "whole_batch"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "read", {"key": "nothing", "count": 1}),
        ("POST", "plant", {"kind": "pigeon"}),
        ("POST", "plant", {"kind": "group", "open_conversation_id": "cidnowhere"}),
        ("PUT", "behaviour", {"mood": "good"}),
        ("PUT", "behaviour", {"unfit_keys": "maybe"}),
        ("POST", "clock", {"forward": 1}),
        ("POST", "robots", {"robot_code": "dingnobody"}),
    ],
)
def test_invalid_requests(client: RawClient, method: str, path: str, body: Any) -> None:
    answer = client.http.request(method, f"/_sandbox/{path}", json=body)
    assert answer.status_code == 400 and answer.json()["error"]


def test_faults_never_apply_to_the_control_api(client: RawClient) -> None:
    client.faults({"action": {"type": "drop"}})
    assert client.control("GET", "faults")["faults"][0]["seen"] == 0


def test_documented_requests_are_the_real_ones() -> None:
    documented = re.findall(r"^\| `([A-Z]+) (/_sandbox/\S*?)` \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    routes = control_routes(default_state())
    real = {
        (method, f"/_sandbox{route.path}") for route in routes for method in (route.methods or ()) if method != "HEAD"
    }
    assert set(documented) - {("GET", "/_sandbox/")} == real
    assert ("GET", "/_sandbox/") in documented and len(documented) == len(real) + 1
    assert "/" in {route.path for route in console_routes()}


def test_journal_from_a_number_and_its_last_entries(client: RawClient) -> None:
    for _ in range(4):
        client.query("group", "k")
    last = client.control("GET", "journal")["requests"][-1]["seq"]
    assert [entry["seq"] for entry in client.control("GET", "journal?limit=2")["requests"]] == [last - 1, last]
    assert client.control("GET", f"journal?since={last - 1}&limit=9")["requests"][0]["seq"] == last
    assert client.control("GET", "journal?limit=-1")["requests"] == []
