from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import ConfigurationError
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.operators import DingTalkRollbackOperator
from airflow_provider_dingtalk.sandbox.default import (
    GROUPS,
    OTHER_AGENT_ID,
    OTHER_CLIENT_ID,
    OTHER_CLIENT_SECRET,
    OTHER_ROBOT_CODE,
)
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.version_compat import AirflowFailException
from tests.support.airflow_seams import TaskInstance, calls, connection, context, is_recalled, key_of

TOKEN_API = "oauth2/accessToken"
OTHER = {
    "login": OTHER_CLIENT_ID,
    "password": OTHER_CLIENT_SECRET,
    "extra": {"robot_code": OTHER_ROBOT_CODE, "agent_id": str(OTHER_AGENT_ID)},
}


@pytest.fixture(autouse=True)
def two_connections(connect: Callable[..., DingTalkHook], sandbox: SandboxServer, monkeypatch) -> None:
    connect()
    monkeypatch.setenv("AIRFLOW_CONN_DINGTALK_OTHER", connection(sandbox, **OTHER))


def sent() -> list[dict[str, Any]]:
    """Two messages of one app, two of another."""
    ours = DingTalkHook().send("group", open_conversation_id=list(GROUPS[:2]), text="a wrong number")
    return (
        ours
        + DingTalkHook("dingtalk_other").send("oto", user_ids=["user001"], text="wrong")
        + DingTalkHook("dingtalk_other").send("work_notification", user_ids=["user001"], text="wrong")
    )


def rollback(receipts: list[dict[str, Any]], **options: Any) -> DingTalkRollbackOperator:
    return DingTalkRollbackOperator(task_id="rollback", receipts=receipts, **options)


def test_a_rollback_takes_back_what_two_connections_sent(sandbox: SandboxServer):
    receipts, ti = sent(), TaskInstance()
    rollback(receipts).execute(context(ti))
    assert all(is_recalled(sandbox, receipt) for receipt in receipts)
    assert ti.pushed("report")["counts"]["recalled"] == 4
    assert calls(sandbox)[TOKEN_API] == 2


def test_the_hook_recalls_by_the_receipts_connections(sandbox: SandboxServer):
    receipts = sent()
    assert DingTalkHook("dingtalk_other").recall(receipts)["counts"]["recalled"] == 4
    assert all(is_recalled(sandbox, receipt) for receipt in receipts)


@pytest.mark.anyio
async def test_so_does_the_hook_on_an_event_loop(sandbox: SandboxServer):
    hook = DingTalkHook()
    receipts = await hook.asend("group", open_conversation_id=GROUPS[0], text="a wrong number")
    receipts += await DingTalkHook("dingtalk_other").asend("oto", user_ids=["user001"], text="wrong")
    assert (await hook.arecall(receipts))["counts"]["recalled"] == 2
    assert all(is_recalled(sandbox, receipt) for receipt in receipts)


def test_receipts_of_version_1_mean_the_operators_connection(sandbox: SandboxServer):
    receipts = DingTalkHook("dingtalk_other").send("group", open_conversation_id=GROUPS[0], text="wrong")
    old = [{**receipt, "version": 1, "conn_id": None} for receipt in receipts]
    rollback(old, dingtalk_conn_id="dingtalk_other").execute(context())
    assert all(is_recalled(sandbox, receipt) for receipt in receipts)


@pytest.mark.parametrize("how", ["gone", "without a secret", "of another type"])
def test_a_connection_that_does_not_work_costs_only_its_own_messages(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch, how: str
):
    receipts, ti = sent(), TaskInstance()
    before = calls(sandbox)[TOKEN_API]
    if how == "gone":
        monkeypatch.delenv("AIRFLOW_CONN_DINGTALK_OTHER")
    else:
        broken = {"password": ""} if how == "without a secret" else {"conn_type": "postgres"}
        monkeypatch.setenv("AIRFLOW_CONN_DINGTALK_OTHER", connection(sandbox, **{**OTHER, **broken}))
    with pytest.raises(AirflowFailException, match="2 of 4 messages recalled; 2 failed"):
        rollback(receipts).execute(context(ti))
    report = ti.pushed("report")
    assert set(report["recalled"]) == {key_of(receipt) for receipt in receipts[:2]}
    assert set(report["failed"]) == {key_of(receipt) for receipt in receipts[2:]}
    assert [is_recalled(sandbox, receipt) for receipt in receipts] == [True, True, False, False]
    assert calls(sandbox)[TOKEN_API] == before, "a secret of another system must not go out"
    assert all(reason["next_step"] or reason["message"] for reason in report["failed"].values())


def test_without_any_connection_the_recall_says_why(monkeypatch: pytest.MonkeyPatch):
    receipts = sent()
    for name in ("DEFAULT", "OTHER"):
        monkeypatch.delenv(f"AIRFLOW_CONN_DINGTALK_{name}")
    with pytest.raises(ConfigurationError, match="dingtalk_default"):
        DingTalkHook().recall(receipts)


def test_what_a_lost_connection_recalled_before_stays_recalled(sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch):
    receipts, where = sent(), context(TaskInstance())
    with pytest.raises(AirflowFailException):
        rollback([*receipts, {**receipts[0], "process_query_key": "no-such-key"}]).execute(where)
    monkeypatch.delenv("AIRFLOW_CONN_DINGTALK_OTHER")
    second = TaskInstance()
    with pytest.raises(AirflowFailException, match="4 of 5"):
        rollback([*receipts, {**receipts[0], "process_query_key": "no-such-key"}]).execute({**where, "ti": second})
    assert second.pushed("report")["counts"]["recalled"] == 4
    assert all(is_recalled(sandbox, receipt) for receipt in receipts)


def test_two_connections_of_one_app_may_name_one_message(sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW_CONN_DINGTALK_ALIAS", json.dumps(json.loads(connection(sandbox))))
    [receipt] = DingTalkHook().send("group", open_conversation_id=GROUPS[0], text="wrong")
    again = [{**receipt, "version": 1, "conn_id": None}, receipt, {**receipt, "conn_id": "dingtalk_alias"}]
    report = DingTalkHook("dingtalk_other").recall(again)
    assert (report["counts"]["recalled"], report["counts"]["duplicates"]) == (1, 2)
    assert is_recalled(sandbox, receipt)
