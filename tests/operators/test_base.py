"""Input and results that operators of all kinds share."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.operators import (
    DingTalkRecallDingOperator,
    DingTalkRecallGroupMessagesOperator,
    DingTalkRecallOTOMessagesOperator,
    DingTalkRecallPrivateChatMessagesOperator,
)
from airflow_provider_dingtalk.sandbox.default import GROUPS, PRIVATE_CHAT, ROBOT_CODE
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.version_compat import AirflowFailException, AirflowSkipException
from tests.support.airflow_seams import TaskInstance, calls, is_recalled, key_of, planted
from tests.support.connections import Connect
from tests.support.operators import (
    OTO_RECALL,
    group_keys,
    rollback,
    run,
    send_ding,
    send_group,
    send_oto,
    send_private,
    send_work,
)

pytestmark = pytest.mark.usefixtures("hook")


# ── what is taken for receipts and keys ──────────────────────────────────────────────────────────────


def repeated(receipts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Five of nine name a message that another one named before."""
    return receipts + receipts[:2] + receipts[1:]


SHAPES: list[Callable[[list[dict[str, Any]]], Any]] = [
    lambda receipts: receipts,
    tuple,
    lambda receipts: [[receipt] for receipt in receipts],
    lambda receipts: [[[[receipts]]]],
    lambda receipts: [None, receipts[0], "None", [], [None, receipts[1:]], None],
    json.dumps,
    lambda receipts: [json.dumps(receipt) for receipt in receipts],
    lambda receipts: json.dumps([[receipts[0]], None, receipts[1:]]),
    repeated,
    lambda receipts: [{**receipt, "unknown": "field"} for receipt in receipts],
    lambda receipts: [{name: v for name, v in receipt.items() if name != "sent_at"} for receipt in receipts],
]


@pytest.mark.parametrize("store", [True, False], ids=["3.3", "3.1"])
@pytest.mark.parametrize("shape", SHAPES)
def test_receipts_come_in_whatever_shape_an_xcom_gives_them(
    sandbox: SandboxServer, shape: Callable[[Any], Any], store: bool
) -> None:
    receipts = [*planted(sandbox, "oto", 2), *planted(sandbox, "group"), *planted(sandbox, "work_notification")]
    given, ti = shape(receipts), TaskInstance()
    report = run(rollback(given), ti, store=store)
    assert all(is_recalled(sandbox, receipt) for receipt in receipts)
    duplicates = 5 if shape is repeated else 0
    assert report["counts"] == {
        "recalled": 4, "failed": 0, "expired": 0, "unknown": 0, "total": 4, "duplicates": duplicates,
    }  # fmt: skip
    assert sorted(report["recalled"]) == sorted(map(key_of, receipts))
    assert ti.pushes == [("report", report, None), ("recalled_0", report["recalled"], None)]


@pytest.mark.parametrize("nothing", [None, "None", [], "[]", "[null]", [None, "None", [None]], ()])
def test_nothing_to_recall_is_as_on_empty_says(sandbox: SandboxServer, nothing: Any) -> None:
    assert run(rollback(nothing))["counts"]["total"] == 0
    for on_empty, error in (("skip", AirflowSkipException), ("fail", AirflowFailException)):
        ti = TaskInstance()
        with pytest.raises(error):
            run(rollback(nothing, on_empty=on_empty), ti)
        assert ti.pushed("report")["counts"]["total"] == 0
    assert calls(sandbox) == {}


KEYS: list[Callable[[list[str]], Any]] = [
    lambda keys: keys,
    tuple,
    set,
    json.dumps,
    lambda keys: [*keys, keys[0]],
    lambda keys: f"  {json.dumps(keys)}\n",
]


@pytest.mark.parametrize("shape", KEYS)
@pytest.mark.parametrize("kind", ["group", "oto", "private_chat", "ding"])
def test_keys_come_as_a_list_or_json_of_one(sandbox: SandboxServer, kind: str, shape: Callable[[Any], Any]) -> None:
    receipts = planted(sandbox, kind, 2)
    operators: dict[str, Callable[[Any], Any]] = {
        "group": lambda keys: DingTalkRecallGroupMessagesOperator(
            task_id="t", process_query_keys=keys, open_conversation_id=GROUPS[0]
        ),
        "oto": lambda keys: DingTalkRecallOTOMessagesOperator(task_id="t", process_query_keys=keys),
        "private_chat": lambda keys: DingTalkRecallPrivateChatMessagesOperator(
            task_id="t", process_query_keys=keys, open_conversation_id=PRIVATE_CHAT
        ),
        "ding": lambda keys: DingTalkRecallDingOperator(task_id="t", open_ding_ids=keys),
    }
    report = run(operators[kind](shape([key_of(receipt) for receipt in receipts])))
    assert report["counts"]["recalled"] == report["counts"]["total"] == 2
    assert all(is_recalled(sandbox, receipt) for receipt in receipts)


def test_keys_and_receipts_go_together(sandbox: SandboxServer) -> None:
    one, other = planted(sandbox, "oto", 2)
    operator = DingTalkRecallOTOMessagesOperator(task_id="t", process_query_keys=[key_of(one)], receipts=[other, one])
    report = run(operator)
    assert (report["counts"]["total"], report["counts"]["duplicates"]) == (2, 1)
    assert calls(sandbox)[OTO_RECALL] == 1


def test_the_operators_robot_wins_over_the_connections(sandbox: SandboxServer, connect: Connect) -> None:
    connect(extra={"robot_code": "somebody-else"})
    (receipt,) = planted(sandbox, "oto")
    operator = DingTalkRecallOTOMessagesOperator(
        task_id="t", process_query_keys=[key_of(receipt)], robot_code=ROBOT_CODE
    )
    assert run(operator)["counts"]["recalled"] == 1


def test_without_a_robot_anywhere_the_error_names_it(sandbox: SandboxServer, connect: Connect) -> None:
    connect(extra={"robot_code": None, "agent_id": None})
    for operator, field in ((group_keys(), "robot_code"), (send_oto(), "robot_code"), (send_work(), "agent_id")):
        with pytest.raises(AirflowFailException, match=f"^{field}: is missing"):
            run(operator)
    assert calls(sandbox) == {}


# ── sending ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("store", [True, False], ids=["3.3", "3.1"])
@pytest.mark.parametrize(
    ("make", "kind", "number"),
    [
        (send_group, Kind.GROUP, 1),
        (lambda: send_group(open_conversation_id=list(GROUPS)), Kind.GROUP, 3),
        (lambda: send_group(open_conversation_id=json.dumps(GROUPS)), Kind.GROUP, 3),
        (send_oto, Kind.OTO, 1),
        (lambda: send_oto(user_ids=[f"user{n:03}" for n in range(1, 46)]), Kind.OTO, 3),
        (lambda: send_oto(user_ids='["user001", "user002", "user001"]', one_receipt_per_user=True), Kind.OTO, 2),
        (lambda: send_oto(user_ids=["user001", "user002"], one_receipt_per_user="True"), Kind.OTO, 2),
        (lambda: send_oto(user_ids=["user001", "user002"], one_receipt_per_user="False"), Kind.OTO, 1),
        (send_private, Kind.PRIVATE_CHAT, 1),
        (send_work, Kind.WORK_NOTIFICATION, 1),
        (lambda: send_work(user_ids=None, to_all_user="True"), Kind.WORK_NOTIFICATION, 1),
        (lambda: send_work(user_ids=None, dept_ids=[1]), Kind.WORK_NOTIFICATION, 1),
        (send_ding, Kind.DING, 1),
    ],
)
def test_every_send_returns_and_pushes_receipts_that_a_rollback_takes_back(
    sandbox: SandboxServer, make: Callable[[], Any], kind: Kind, number: int, store: bool
) -> None:
    ti = TaskInstance()
    receipts = run(make(), ti, store=store)
    assert [receipt["kind"] for receipt in receipts] == [kind.value] * number
    assert all(receipt["version"] == 2 and receipt["sent_at"].endswith("Z") for receipt in receipts)
    assert ti.pushed("receipts_0") == [{**receipt, "text": "hello", "run_id": "run"} for receipt in receipts]
    assert ti.pushed("receipts_count") == number
    assert set(ti.keys) == {"receipts_0", "receipts_count"}
    assert len(sandbox.state.messages) == number
    report = run(rollback(receipts))
    assert report["counts"]["recalled"] == number
    assert all(is_recalled(sandbox, receipt) for receipt in receipts)
