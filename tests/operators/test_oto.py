"""Operators for one-on-one messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_dingtalk.client.endpoints import MAX_USERS_PER_OTO_SEND
from airflow_provider_dingtalk.exceptions import DroppedReceiversError
from airflow_provider_dingtalk.jobs.send import WORKERS
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.version_compat import AirflowFailException
from tests.support.airflow_seams import TOKEN_API, TaskInstance, calls, key_of
from tests.support.connections import Connect
from tests.support.operators import OTO_SEND, BadInput, check_refused, numbered, run, send_oto

pytestmark = pytest.mark.usefixtures("hook")


BAD_OTO: BadInput = [
    (lambda: send_oto(user_ids=None), "user_ids"),
    (lambda: send_oto(user_ids=[]), "user_ids"),
    (lambda: send_oto(user_ids="None"), "user_ids"),
    (lambda: send_oto(user_ids="null"), "user_ids"),
    (lambda: send_oto(user_ids="[user001]"), "user_ids"),
    (lambda: send_oto(user_ids=["user001", None]), "user_ids[1]"),
    (lambda: send_oto(user_ids=["user001", 5]), "user_ids[1]"),
    (lambda: send_oto(user_ids=[["user001"]]), "user_ids[0]"),
    (lambda: send_oto(user_ids=5), "user_ids"),
    (lambda: send_oto(user_ids="user001,user002"), "user_ids"),
    (lambda: send_oto(one_receipt_per_user="perhaps"), "one_receipt_per_user"),
    (lambda: send_oto(one_receipt_per_user=None), "one_receipt_per_user"),
]


@pytest.mark.parametrize(**numbered(BAD_OTO))
def test_bad_input_of_oto_fails_for_good_by_the_name_of_the_field_before_the_first_call(
    sandbox: SandboxServer, connect: Connect, make: Callable[[], Any], field: str
) -> None:
    check_refused(sandbox, connect, make, field)


@pytest.mark.parametrize("store", [True, False], ids=["3.3", "3.1"])
def test_receipts_are_pushed_in_hundreds_soon_after_their_calls(sandbox: SandboxServer, store: bool) -> None:
    people = sandbox.state.ensure_people(201)
    ti = TaskInstance(on_push=lambda: calls(sandbox).get(OTO_SEND, 0))
    receipts = run(send_oto(user_ids=people, one_receipt_per_user=True), ti, store=store)
    assert len(receipts) == 201
    chunks = [ti.pushed(f"receipts_{number}") for number in range(3)]
    assert [len(chunk) for chunk in chunks] == [100, 100, 1]
    assert sorted(key_of(one) for chunk in chunks for one in chunk) == sorted(map(key_of, receipts))
    assert ti.pushed("receipts_count") == 201
    pushed = [(int(key[-1]), value, seen) for key, value, seen in ti.pushes if key != "receipts_count"]
    unpushed = [seen - 100 * number - len(value) for number, value, seen in pushed]
    assert max(unpushed) <= 2 * WORKERS, "those in flight, and one group that waits for the next"


def test_people_left_out_are_pushed_and_fail_the_task_only_if_asked(sandbox: SandboxServer) -> None:
    sandbox.state.flow_controlled.add("user002")
    sandbox.state.filtered.add("user003")
    people = ["user001", "user002", "user003", "nobody"]
    dropped = {"user002": "flow_controlled", "user003": "filtered", "nobody": "invalid"}
    ti = TaskInstance()
    (receipt,) = run(send_oto(user_ids=people), ti)
    assert ti.pushed("dropped") == dropped
    assert receipt["recipients"] == 1
    ti = TaskInstance()
    with pytest.raises(AirflowFailException, match="left out 3 people") as raised:
        run(send_oto(user_ids=people, fail_on_dropped=True), ti)
    assert isinstance(raised.value.__cause__, DroppedReceiversError)
    assert ti.pushed("dropped") == dropped
    assert ti.pushed("receipts_count") == 1


def test_twenty_people_share_a_call(sandbox: SandboxServer) -> None:
    people = sandbox.state.ensure_people(2 * MAX_USERS_PER_OTO_SEND + 1)
    receipts = run(send_oto(user_ids=people))
    assert [receipt["recipients"] for receipt in receipts] == [20, 20, 1]
    assert calls(sandbox) == {TOKEN_API: 1, OTO_SEND: 3}
