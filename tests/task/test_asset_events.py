"""Rollback log: outlets of recall tasks, mapped or not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.models.asset import AssetModel
from airflow.sdk import DAG, Asset, AssetAlias

from airflow_provider_dingtalk.operators import (
    DingTalkRecallDingOperator,
    DingTalkRecallGroupMessagesOperator,
    DingTalkRollbackOperator,
)
from airflow_provider_dingtalk.task.asset_events import ALIAS, rollback_log, with_rollback_log

TABLE = Asset("table")


def dag() -> DAG:
    return DAG("some", schedule=None)


def test_a_recall_names_the_rollback_log_of_its_dag_beside_what_a_user_names():
    with dag():
        recall = DingTalkRecallDingOperator(task_id="recall", open_ding_ids=["a"])
        other = DingTalkRecallDingOperator(task_id="other", open_ding_ids=["a"], outlets=TABLE)
    assert recall.outlets == [rollback_log("some")]
    assert other.outlets == [TABLE, rollback_log("some")]


def test_so_does_a_mapped_one_once():
    with dag():
        recall = DingTalkRecallGroupMessagesOperator.partial(task_id="recall", outlets=[TABLE]).expand(
            receipts=[[], []]
        )
    assert recall.outlets == [TABLE, rollback_log("some")]
    one = recall.unmap({"receipts": []})
    assert one.outlets == [TABLE, rollback_log("some")]


def test_without_a_dag_there_is_no_rollback_log():
    assert DingTalkRecallDingOperator(task_id="recall", open_ding_ids=["a"]).outlets == []


def test_a_rollback_names_its_own_and_may_write_into_all_mapped_or_not():
    both = [rollback_log("some"), AssetAlias(ALIAS)]
    with dag():
        rollback = DingTalkRollbackOperator(task_id="rollback", from_tasks=["send"], outlets=[TABLE])
        mapped = DingTalkRollbackOperator.partial(task_id="mapped").expand(receipts=[[], []])
    assert rollback.outlets == [TABLE, *both]
    assert mapped.outlets == both
    assert mapped.unmap({"receipts": []}).outlets == both


# ── ids ──

LONGEST = 250
#: DAG ids that Airflow accepts, and the longest ones, of characters with one to four bytes.
IDS = (
    "revenue",
    "revenue.daily-v_2",
    "每日营收",
    "отчёт",
    "E68AA5",
    "\u00e9t\u00e9",
    "report\n",
    "a" * LONGEST,
    "报" * LONGEST,
    "报" * (LONGEST - 1) + "告",
    "\U00020000" * LONGEST,
)


@pytest.mark.parametrize("dag_id", IDS)
def test_the_name_and_the_uri_are_short_ascii_whatever_the_dag_is_called(dag_id: str):
    asset = rollback_log(dag_id)
    for text in (asset.name, asset.uri):
        assert text.isascii() and text.isprintable()
        assert len(text) < 600
    # As the server reads it from the serialized DAG, and stores it.
    stored = AssetModel(name=asset.name, uri=asset.uri)
    assert (stored.name, stored.uri) == (asset.name, asset.uri)


def test_two_dags_never_share_a_log():
    assert len({rollback_log(dag_id).name for dag_id in IDS}) == len(IDS)
    assert len({rollback_log(dag_id).uri for dag_id in IDS}) == len(IDS)


def test_an_id_that_no_asset_can_be_named_after_costs_the_log_and_not_the_file(caplog):
    """Use a lone surrogate, which cannot be encoded; Airflow itself refuses it as an id."""
    strange = SimpleNamespace(dag_id="\ud800")
    assert with_rollback_log([TABLE], strange, of_all_dags=True) == [TABLE]
    assert "leave no events" in caplog.text
