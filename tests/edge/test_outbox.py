"""Where recalls leave word: which outlets they have, mapped or not."""

from __future__ import annotations

from airflow.sdk import DAG, Asset, AssetAlias

from airflow_provider_dingtalk.operators import (
    DingTalkRecallDingOperator,
    DingTalkRecallGroupMessagesOperator,
    DingTalkRollbackOperator,
)
from airflow_provider_dingtalk.outbox import ALIAS, outbox

TABLE = Asset("table")


def dag() -> DAG:
    return DAG("some", schedule=None)


def test_a_recall_names_the_outbox_of_its_dag_beside_what_a_user_names():
    with dag():
        recall = DingTalkRecallDingOperator(task_id="recall", open_ding_ids=["a"])
        other = DingTalkRecallDingOperator(task_id="other", open_ding_ids=["a"], outlets=TABLE)
    assert recall.outlets == [outbox("some")]
    assert other.outlets == [TABLE, outbox("some")]


def test_so_does_a_mapped_one_once():
    with dag():
        recall = DingTalkRecallGroupMessagesOperator.partial(task_id="recall", outlets=[TABLE]).expand(
            receipts=[[], []]
        )
    assert recall.outlets == [TABLE, outbox("some")]
    one = recall.unmap({"receipts": []})
    assert one.outlets == [TABLE, outbox("some")]


def test_without_a_dag_there_is_no_outbox():
    assert DingTalkRecallDingOperator(task_id="recall", open_ding_ids=["a"]).outlets == []


def test_a_rollback_names_its_own_and_may_write_into_all_mapped_or_not():
    both = [outbox("some"), AssetAlias(ALIAS)]
    with dag():
        rollback = DingTalkRollbackOperator(task_id="rollback", from_tasks=["send"], outlets=[TABLE])
        mapped = DingTalkRollbackOperator.partial(task_id="mapped").expand(receipts=[[], []])
    assert rollback.outlets == [TABLE, *both]
    assert mapped.outlets == both
    assert mapped.unmap({"receipts": []}).outlets == both
