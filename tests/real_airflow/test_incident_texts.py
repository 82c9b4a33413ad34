"""Texts and checks of the incident DAG: form, list of runs, question, message to the group."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "example_dags/dingtalk_incident_rollback.py"
NOTHING: dict[str, Any] = dict.fromkeys(("dag_id", "run_id", "since", "until", "keys"))
PLAN: dict[str, Any] = {
    "counts": {"group": 3, "oto": 45, "total": 48, "expired": 0},
    "people": 60,
    "api_calls": 4,
    "conversations": [
        {"kind": "oto", "messages": 45, "people": 60, "sent_from": "2026-11-28T08:00:00.000Z", "readers": 7},
        {"kind": "group", "open_conversation_id": "cid1", "messages": 3, "texts": ["**`a|b`**"]},
    ],
    "more_conversations": 0,
}


def loaded(file: Path) -> ModuleType:
    """Return a DAG file as a module."""
    spec = spec_from_file_location(f"dag_{file.stem}", file)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def dag_file() -> ModuleType:
    return loaded(FILE)


class Airflow:
    """Airflow that knows one DAG."""

    def get_dr_count(self, *, dag_id: str) -> int:
        return int(dag_id == "sends")

    def get_task_states(self, *, dag_id: str, run_ids: list[str]) -> dict[str, Any]:
        return {run_id: {"send": "success"} for run_id in run_ids if run_id == "by hand"}


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({}, "names nothing to take back"),
        ({"keys": [" ", ""]}, "names nothing to take back"),
        ({"dag_id": "nowhere"}, "knows no run of the DAG 'nowhere'"),
        ({"dag_id": "sends", "run_id": "nowhere"}, "knows no run nowhere of sends"),
        ({"dag_id": "sends", "run_id": "by hand", "since": "2026-11-28"}, "a run and a time"),
        ({"run_id": "by hand"}, "needs a DAG"),
        ({"since": "2026-11-28"}, "needs a DAG"),
        ({"dag_id": "sends", "until": "2026-11-28"}, "needs since"),
        ({"dag_id": "sends"}, ""),
        ({"dag_id": "sends", "run_id": "by hand"}, ""),
        ({"keys": ["key"]}, ""),
    ],
)
def test_a_form_is_right_or_its_mistake_has_a_name(dag_file: ModuleType, form: dict[str, Any], reason: str) -> None:
    error = dag_file.form_error({**NOTHING, **form}, Airflow())
    assert reason in error
    assert bool(error) == bool(reason)


def test_a_run_is_an_option_with_time_state_and_id(dag_file: ModuleType) -> None:
    state = Enum("State", {"FAILED": "failed"}, type=str).FAILED
    run = SimpleNamespace(run_id="by hand · x", state=state, run_after=datetime(2026, 11, 28, 8, tzinfo=UTC))
    assert dag_file.option(run, "Asia/Shanghai") == "2026-11-28 16:00:00 · failed / 失败 · by hand · x"


def test_the_question_has_messages_people_and_ages_by_conversation(dag_file: ModuleType) -> None:
    text = dag_file.question(PLAN, "Wrong figures.", "Asia/Shanghai")
    oto, group, total = text.splitlines()[2:5]
    assert oto.startswith("| one-on-one messages / 单聊消息 | 45 | 60 | 2026-11-28 16:00:00 CST (")
    assert oto.endswith(") | 7 |")
    assert (
        group == "| group messages / 群消息 `cid1` `**'a/b'**` | 3 | unknown / 未知 | unknown / 未知 | unknown / 未知 |"
    )
    assert total == "| **in all / 合计** | **48** | **≥ 60** |  |  |"
    assert "**Why / 原因:** Wrong figures." in text
    assert "doubt" not in text


def test_the_question_says_what_is_not_in_it(dag_file: ModuleType) -> None:
    counts = {**PLAN["counts"], "expired": 2}
    more = {"missing": {"send": 3}, "sends_in_doubt": {"send": 1}, "more_conversations": 9, "counts": counts}
    text = dag_file.question({**PLAN, **more}, "Wrong figures.", "UTC")
    assert "9 more conversations are not listed." in text
    assert "3 group messages / 群消息, 45 one-on-one messages / 单聊消息" in text
    assert "3 receipts of these tasks cannot be read: send." in text
    assert "1 sends at most left a message that has no receipt: send." in text
    assert "2 more are too old to be taken back. / 另有 2 条已过可撤回时间。" in text


@pytest.mark.parametrize(
    ("report", "states", "told"),
    [
        (None, {"dry_run": "failed", "approve": "upstream_failed", "recall": "upstream_failed"}, ""),
        (None, {"approve": "success", "recall": "skipped"}, "The recall of 48 messages was rejected."),
        (None, {"approve": "failed", "recall": "upstream_failed"}, "was not approved."),
        # A killed recall leaves no report; what it recalled is unknown.
        (None, {"approve": "success", "recall": "failed"}, ""),
        ({"counts": {"recalled": 47, "failed": 1, "expired": 0, "unknown": 0, "total": 48}}, {}, "47 of 48 messages"),
    ],
)
def test_the_group_is_told_what_became_of_the_question(
    dag_file: ModuleType, report: Any, states: dict[str, str], told: str
) -> None:
    text = dag_file.result(report, states, 48, "Wrong figures.")
    assert told in text
    assert ("Wrong figures." in text) == bool(told)
    assert ("Nothing was taken back / 未撤回任何消息" in text) == (bool(told) and report is None)
    assert ("- failed / 失败: 1" in text) == (report is not None)


@pytest.mark.parametrize(("language", "shown"), [("en", "unknown"), ("zh", "未知"), ("both", "unknown / 未知")])
def test_a_copy_of_the_file_speaks_one_language(language: str, shown: str, tmp_path: Path) -> None:
    text, copy = FILE.read_text(encoding="utf-8"), tmp_path / f"{language}.py"
    assert text.count("LANGUAGE = language()") == 1
    copy.write_text(text.replace("LANGUAGE = language()", f'LANGUAGE = "{language}"'), encoding="utf-8")
    module = loaded(copy)
    assert module.number(None) == shown
    assert (module.PARAMS["reason"].schema["title"] == "原因") == (language == "zh")
