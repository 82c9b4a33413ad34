"""Names that users and databases rely on: docs/stability.md lists them all, and a change is noticed."""

from __future__ import annotations

from airflow_provider_dingtalk import triggers
from airflow_provider_dingtalk.sensors import DingTalkGroupMessageSensor
from dev.public_names import PAGE, names, page_with


def test_the_page_lists_the_names_of_today() -> None:
    # A name that changed here breaks DAGs, deferred tasks or stored state. If that is meant: run
    # `python -m dev.public_names`, and say in CHANGELOG.md what happens to what is stored.
    assert page_with(names()) == PAGE.read_text(encoding="utf-8")


def test_it_knows_each_kind_of_name() -> None:
    lines = set(names().splitlines())
    for name in ("receipts_{}", "report", "dingtalk-recall-2", "[dingtalk] pace_dir", "2 INPUT", "suite_ticket_secret"):
        assert f"- `{name}`" in lines
    for name in ("sends_in_doubt", "would_recall", "AIRFLOW_API_TOKEN", "airflow_provider_dingtalk.language.language"):
        assert f"- `{name}`" in lines
    stored = [name for name in vars(triggers) if name.startswith("DingTalk") and name.endswith("Trigger")]
    for name in stored:
        assert any(line.startswith(f"- `airflow_provider_dingtalk.triggers.{name}(") for line in lines)
    (sensor,) = [line for line in lines if f".{DingTalkGroupMessageSensor.__name__}(" in line]
    assert "min_readers" in sensor and "trigger_rule" not in sensor
