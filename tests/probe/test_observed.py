"""File of a probe: read as it was written, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from airflow_provider_dingtalk.probe.observed import Observation, Observed, Question, read_observed


def test_it_is_read_as_it_was_written(tmp_path: Path):
    seen = {Question.RECALL: Observation(status=200, recalled=1, after=2.0), Question.DEAD_TOKEN: Observation(status=0)}
    observed = Observed(observed_at="2026-11-21T00:00:00Z", region="cn", api_calls=2, seen=seen)
    observed.write(tmp_path / "observed.json")
    assert read_observed(tmp_path / "observed.json") == observed
    assert json.loads((tmp_path / "observed.json").read_text())["seen"]["dead_token"] == {"status": 0}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2}', "nonsense"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str):
    file = tmp_path / "observed.json"
    file.write_text(text)
    with pytest.raises((ValueError, msgspec.MsgspecError)):
        read_observed(file)


def test_a_file_of_another_version_is_refused(tmp_path: Path):
    file = tmp_path / "observed.json"
    whole = {"version": 2, "observed_at": "2026-11-21T00:00:00Z", "region": "cn", "api_calls": 1, "seen": {}}
    file.write_text(json.dumps(whole))
    with pytest.raises(ValueError, match="version 2"):
        read_observed(file)
