"""Limits of the control API: each refusal names the field and the limit, and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_dingtalk.sandbox import limits
from tests.sandbox.raw_client import RawClient

PEOPLE = [f"p{number}" for number in range(limits.MAX_PEOPLE)]
RULE = {"action": {"type": "drop"}}


@pytest.mark.parametrize(
    ("path", "body", "field", "limit"),
    [
        ("people", {"count": 10**9}, "count", limits.MAX_PEOPLE),
        ("people", {"count": 10**30}, "count", limits.MAX_PEOPLE),
        ("people", {"user_ids": PEOPLE}, "user_ids", limits.MAX_PEOPLE),
        ("plant", {"kind": "oto", "count": 10**9}, "count", limits.MAX_MESSAGES_PER_REQUEST),
        ("plant", {"kind": "oto", "count": 10**5, "text": "x" * 10**4}, "count", limits.MAX_CREATED_BYTES),
        ("plant", {"kind": "oto", "readers": 10**9}, "readers", limits.MAX_PEOPLE),
        ("plant", {"kind": "oto", "readers": 10**5, "count": 99}, "readers", limits.MAX_CREATED_READERS),
        ("plant", {"kind": "oto", "age_seconds": -1e300}, "age_seconds", limits.MAX_CLOCK_OFFSET),
        ("clock", {"advance": 1e300}, "advance", limits.MAX_CLOCK_OFFSET),
        ("clock", {"advance": -1e12}, "advance", limits.MAX_CLOCK_OFFSET),
        ("faults", [RULE] * 101, "faults", limits.MAX_RULES),
        ("conversations", {"open_conversation_id": "c", "members": PEOPLE}, "members", limits.MAX_PEOPLE),
    ],
)
def test_over_the_limit(client: RawClient, path: str, body: Any, field: str, limit: int) -> None:
    answer = client.http.post(f"/_sandbox/{path}", json=body)
    assert answer.status_code == 400
    refusal = answer.json()
    assert (refusal["field"], refusal["limit"]) == (field, limit)
    assert f"Invalid {field}" in refusal["error"] and str(limit) in refusal["error"]
    state = client.sandbox.state
    assert (len(state.people), state.messages, state.faults.rules, state.clock_offset) == (60, {}, [], 0)


@pytest.mark.parametrize("given", [{"count": 10**9}, {"user_ids": PEOPLE}])
def test_readers(client: RawClient, given: dict[str, Any]) -> None:
    [key] = client.create_messages("group")
    answer = client.http.post("/_sandbox/read", json={"key": key, **given})
    assert (answer.status_code, answer.json()["limit"]) == (400, limits.MAX_PEOPLE)
    assert client.sandbox.state.messages[key].readers == {}


def test_limits_count_what_is_there(client: RawClient) -> None:
    client.faults(*[RULE] * 100)
    assert client.http.post("/_sandbox/faults", json=RULE).json()["field"] == "faults"
    client.control("POST", "clock", {"advance": limits.MAX_CLOCK_OFFSET})
    assert client.http.post("/_sandbox/clock", json={"advance": 1}).json()["field"] == "advance"


@pytest.mark.parametrize("path", ["faults", "people", "conversations", "behaviour"])
def test_deep_json(client: RawClient, path: str) -> None:
    method = "PUT" if path == "behaviour" else "POST"
    answer = client.http.request(method, f"/_sandbox/{path}", content=b"[" * 100_000 + b"]" * 100_000)
    assert answer.status_code == 400 and answer.json()["error"]


@pytest.mark.parametrize("path", ["conversations", "robots"])
def test_id_that_is_no_text(client: RawClient, path: str) -> None:
    body = {"open_conversation_id": ["c"]} if path == "conversations" else {"robot_code": {"a": 1}}
    assert client.http.post(f"/_sandbox/{path}", json=body).status_code == 400
