"""Operators for work notifications."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_dingtalk.operators import DingTalkRecallWorkNotificationOperator
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from tests.support.airflow_seams import is_recalled, key_of, planted
from tests.support.connections import Connect
from tests.support.operators import BadInput, check_refused, numbered, run, send_work

pytestmark = pytest.mark.usefixtures("hook")


@pytest.mark.parametrize(
    "shape",
    [
        lambda ids: ids,
        lambda ids: [str(number) for number in ids],
        json.dumps,
        lambda ids: json.dumps([str(number) for number in ids]),
        lambda ids: f" {json.dumps(ids)}",
    ],
)
def test_task_ids_of_work_notifications_come_in_all_forms(
    sandbox: SandboxServer, shape: Callable[[list[int]], Any]
) -> None:
    receipts = planted(sandbox, "work_notification", 2)
    given = shape([int(key_of(receipt)) for receipt in receipts])
    report = run(DingTalkRecallWorkNotificationOperator(task_id="t", msg_task_id=given))
    assert report["counts"]["recalled"] == 2
    assert all(is_recalled(sandbox, receipt) for receipt in receipts)


@pytest.mark.parametrize("form", [int, str, lambda key: f" {key} ", lambda key: [int(key)]])
def test_one_task_id_needs_no_list(sandbox: SandboxServer, form: Callable[[str], Any]) -> None:
    (receipt,) = planted(sandbox, "work_notification")
    operator = DingTalkRecallWorkNotificationOperator(task_id="t", msg_task_id=form(key_of(receipt)))
    assert run(operator)["counts"]["recalled"] == 1


@pytest.mark.parametrize("nothing", [None, "None", [], "[]"])
def test_no_task_id_is_nothing_to_recall(sandbox: SandboxServer, nothing: Any) -> None:
    assert run(DingTalkRecallWorkNotificationOperator(task_id="t", msg_task_id=nothing))["counts"]["total"] == 0


BAD_TASK_IDS: list[tuple[Any, str]] = [
    ("five", "msg_task_id"),
    ("", "msg_task_id"),
    ("-1", "msg_task_id"),
    ("1.5", "msg_task_id"),
    ("²", "msg_task_id"),
    (True, "msg_task_id"),
    (-1, "msg_task_id"),
    (2**63, "msg_task_id"),
    (10**5000, "msg_task_id"),
    ("9" * 5000, "msg_task_id"),
    (1.5, "msg_task_id"),
    ({"task_id": 5}, "msg_task_id"),
    (b"5", "msg_task_id"),
    ("[5", "msg_task_id"),
    ("[[5]]", "msg_task_id[0]"),
    ([5, None], "msg_task_id[1]"),
    ([5, "x"], "msg_task_id[1]"),
]


BAD_WORK_NOTIFICATION: BadInput = [
    *[
        (lambda value=value: DingTalkRecallWorkNotificationOperator(task_id="t", msg_task_id=value), field)
        for value, field in BAD_TASK_IDS
    ],
    (
        lambda: DingTalkRecallWorkNotificationOperator(task_id="t", msg_task_id=5, agent_id="mine"),
        "agent_id",
    ),
    (lambda: send_work(user_ids=None), "user_ids"),
    (lambda: send_work(to_all_user=True), "user_ids"),
    (lambda: send_work(user_ids=None, to_all_user="perhaps"), "to_all_user"),
    (lambda: send_work(user_ids=None, to_all_user="False"), "user_ids"),
    (lambda: send_work(user_ids=None, to_all_user=1), "to_all_user"),
    (lambda: send_work(agent_id="mine"), "agent_id"),
    (lambda: send_work(agent_id=True), "agent_id"),
    (lambda: send_work(dept_ids=[]), "dept_ids"),
    (lambda: send_work(dept_ids=["1,2"]), "dept_ids"),
    (lambda: send_work(dept_ids=[1.5]), "dept_ids"),
    (lambda: send_work(text=None, msg={"text": {"content": "x"}}), "msg"),
    (lambda: send_work(text=None, msg={"msgtype": "text"}), "msg"),
    (lambda: send_work(text=None, msg={"msgtype": ["text"]}), "msg"),
    (lambda: send_work(text=None, msg="no json"), "msg"),
    (lambda: send_work(text="x" * 3000), "msg"),
]


@pytest.mark.parametrize(**numbered(BAD_WORK_NOTIFICATION))
def test_bad_input_of_work_notification_fails_for_good_by_the_name_of_the_field_before_the_first_call(
    sandbox: SandboxServer, connect: Connect, make: Callable[[], Any], field: str
) -> None:
    check_refused(sandbox, connect, make, field)
