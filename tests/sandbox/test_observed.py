"""Switches by what a probe observed; tests/probe compares them with a whole tenant."""

from __future__ import annotations

import pytest

from airflow_provider_dingtalk.probe.observed import Observation, Observed, Question
from airflow_provider_dingtalk.sandbox.behaviour import Behaviour
from airflow_provider_dingtalk.sandbox.observed import switches_of

CASES = [
    ({Question.DEAD_TOKEN: Observation(status=401, code="x")}, {"dead_token_status": 401, "dead_token_code": "x"}),
    ({Question.DEAD_TOKEN: Observation(status=502, code="x")}, {}),
    ({Question.RECALL: Observation(status=200, recalled=1, after=3.0)}, {"recall_too_early_seconds": 3.0}),
    ({Question.SECOND_RECALL: Observation(status=200, recalled=1)}, {"already_recalled": "success"}),
    (
        {Question.SECOND_RECALL: Observation(status=200, failed=["done"], form="list")},
        {"already_recalled": "failed", "already_recalled_reason": "done", "failed_result_form": "list"},
    ),
    ({Question.SECOND_RECALL: Observation(status=200, missing=1)}, {"already_recalled": "omitted"}),
    (
        {Question.SECOND_RECALL: Observation(status=400, code="notRevoke.all.messages")},
        {"already_recalled": "not_revoke_all"},
    ),
    (
        {Question.STATUS_AFTER_RECALL: Observation(status=200, send_status="RECALLED")},
        {"status_after_recall": "recalled"},
    ),
    (
        {Question.STATUS_AFTER_RECALL: Observation(status=200, send_status="SUCCESS")},
        {"status_after_recall": "unchanged"},
    ),
    ({Question.STATUS_AFTER_RECALL: Observation(status=400, code="processQueryKey.expireTime")}, {}),
    ({Question.UNSCOPED_STATUS: Observation(status=400, code="miss.robotCode")}, {"query_scope": "required"}),
    ({Question.UNSCOPED_STATUS: Observation(status=400, code="system.error")}, {}),
    ({Question.UNFIT_KEY: Observation(status=200, failed=["no"])}, {"unfit_keys": "per_key", "unknown_key_code": "no"}),
    ({Question.DUPLICATE_KEY: Observation(status=200, recalled=2)}, {"duplicate_keys": "twice"}),
    (
        {Question.TOO_MANY_KEYS: Observation(status=400, code="invalidParameter.processQueryKeys.overMax")},
        {"max_keys": 20},
    ),
    ({Question.TOO_MANY_KEYS: Observation(status=200, failed=["no"])}, {"max_keys": 21}),
    (
        {
            Question.READ_STATUS: Observation(status=200, readers=1),
            Question.READ_STATUS_AFTER_RECALL: Observation(status=200, readers=0),
        },
        {"readers_after_recall": "gone"},
    ),
    (
        {
            Question.READ_STATUS: Observation(status=200, readers=0),
            Question.READ_STATUS_AFTER_RECALL: Observation(status=200, readers=0),
        },
        {},
    ),
]


@pytest.mark.parametrize(("seen", "switches"), CASES)
def test_switches(seen: dict[Question, Observation], switches: dict[str, object]) -> None:
    found = switches_of(Observed(observed_at="2026-01-01T00:00:00Z", region="cn", api_calls=1, seen=seen))
    assert found == switches
    Behaviour().changed(found)
