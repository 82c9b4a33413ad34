"""Fault rules: selection of calls, and invalid rules."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_dingtalk.sandbox.default import default_state
from tests.sandbox.raw_client import Clock, RawClient, rule


@pytest.mark.parametrize(
    ("fields", "selected"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"nth": [1, 3]}, [1, 3]),
        ({"every": 2}, [2, 4, 6]),
        ({"every": 2, "times": 2}, [2, 4]),
        ({"times": 1}, [1]),
        ({"match": "groupMessages/query", "nth": [2]}, [2]),
        ({"match": "groupMessages/Query"}, []),
        ({"body": '"processQueryKey"', "nth": [2]}, [2]),
        ({"body": "another key"}, []),
        ({"probability": 0}, []),
        ({"probability": 1}, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_rule_selects_calls(client: RawClient, fields: dict[str, Any], selected: list[int]) -> None:
    client.faults(rule(action="status", **fields))
    seen = [n for n in range(1, 7) if client.query("group", "k").status_code == 500]
    assert seen == selected
    [state] = client.control("GET", "faults")["faults"]
    assert state["fired"] == len(selected)
    client.control("DELETE", "faults")
    assert client.query("group", "k").status_code == 400


def test_chance_repeats_with_the_seed() -> None:
    def draws(seed: int) -> list[bool]:
        state = default_state(seed=seed, now=Clock())
        state.faults.replace([rule(action="status", probability=0.5)])
        return [bool(state.faults.rules_for("any", b"", state.rng)) for _ in range(64)]

    assert draws(1) == draws(1) != draws(2)
    assert 16 < sum(draws(1)) < 48


@pytest.mark.parametrize(
    "invalid", [{"action": {"type": "explode"}}, {"match": "x"}, {"action": {"type": "drop"}, "nht": [1]}]
)
def test_invalid_rules(client: RawClient, invalid: dict[str, Any]) -> None:
    answer = client.http.put("/_sandbox/faults", json=[invalid])
    assert answer.status_code == 400 and "error" in answer.json()
