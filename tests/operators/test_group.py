"""Operators for group messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import IncompleteSendError
from airflow_provider_dingtalk.sandbox.default import GROUPS
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.version_compat import AirflowFailException
from tests.support.airflow_seams import TaskInstance, calls
from tests.support.connections import Connect
from tests.support.operators import (
    GOOD,
    GROUP,
    GROUP_SEND,
    BadInput,
    check_refused,
    group_keys,
    numbered,
    rollback,
    run,
    send_group,
)

pytestmark = pytest.mark.usefixtures("hook")


BAD_KEYS: list[tuple[Any, str]] = [
    ("k", "process_query_keys"),
    ("", "process_query_keys"),
    ('"k"', "process_query_keys"),
    ('{"a": 1}', "process_query_keys"),
    ("[" * 100_000, "process_query_keys"),
    (5, "process_query_keys"),
    (True, "process_query_keys"),
    (b"k", "process_query_keys"),
    ({"k": 1}, "process_query_keys"),
    (object(), "process_query_keys"),
    ([None], "process_query_keys[0]"),
    (["k", ""], "process_query_keys[1]"),
    (["k", "   "], "process_query_keys[1]"),
    ([" k"], "process_query_keys[0]"),
    (["k", 5], "process_query_keys[1]"),
    ([1.5], "process_query_keys[0]"),
    ([b"k"], "process_query_keys[0]"),
    ([["k"]], "process_query_keys[0]"),
    ([{"key": "k"}], "process_query_keys[0]"),
    (["k\x00"], "process_query_keys[0]"),
    (["k" * 513], "process_query_keys[0]"),
    ([True], "process_query_keys[0]"),
]


BAD_GROUP: BadInput = [
    *[(lambda value=value: group_keys(process_query_keys=value), field) for value, field in BAD_KEYS],
    (lambda: group_keys(open_conversation_id=None), "open_conversation_id"),
    (lambda: group_keys(open_conversation_id=""), "open_conversation_id"),
    (lambda: group_keys(open_conversation_id=["cid"]), "open_conversation_id"),
    (lambda: group_keys(robot_code=5), "robot_code"),
    (lambda: group_keys(robot_code=" "), "robot_code"),
    (lambda: group_keys(process_query_keys=None, receipts=[GOOD]), "receipts[0].kind"),
    (lambda: group_keys(receipts=[GROUP, {**GROUP, "process_query_key": 5}]), "receipts[1].process_query_key"),
    (lambda: send_group(text=None), "text"),
    (lambda: send_group(text=""), "text"),
    (lambda: send_group(markdown="both"), "text"),
    (lambda: send_group(text=None, msg_key="sampleText"), "msg_param"),
    (lambda: send_group(text=None, msg_key="sampleText", msg_param="no json"), "msg_param"),
    (lambda: send_group(text=None, msg_key="sampleText", msg_param=["content"]), "msg_param"),
    (lambda: send_group(text=None, msg_key="sampleText", msg_param={"contents": "x"}), "msg_param"),
    (lambda: send_group(text=None, msg_key="other", msg_param={"content": object()}), "msg_param"),
    (lambda: send_group(text=None, msg_key="other", msg_param={"content": "\ud800"}), "msg_param"),
    (lambda: send_group(text=None, msg_key="other", msg_param="[" * 100_000), "msg_param"),
    (lambda: send_group(text="x" * 20_000), "msg_param"),
    (lambda: send_group(open_conversation_id=None), "open_conversation_id"),
    (lambda: send_group(open_conversation_id=""), "open_conversation_id"),
    (lambda: send_group(open_conversation_id=[]), "open_conversation_id"),
    (lambda: send_group(open_conversation_id="cid1,cid2"), "open_conversation_id"),
    (lambda: send_group(open_conversation_id=5), "open_conversation_id"),
    (lambda: send_group(open_conversation_id={"cid": 1}), "open_conversation_id"),
    (lambda: send_group(robot_code=5), "robot_code"),
    (lambda: send_group(cool_app_code=5), "cool_app_code"),
    (lambda: send_group(on_unknown_send="perhaps"), "on_unknown_send"),
    (lambda: send_group(on_cleared_send=None), "on_cleared_send"),
    (lambda: send_group(open_conversation_id="null"), "open_conversation_id"),
]


@pytest.mark.parametrize(**numbered(BAD_GROUP))
def test_bad_input_of_group_fails_for_good_by_the_name_of_the_field_before_the_first_call(
    sandbox: SandboxServer, connect: Connect, make: Callable[[], Any], field: str
) -> None:
    check_refused(sandbox, connect, make, field)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_send_without_an_answer_is_pushed_as_unknown_and_never_repeated(sandbox: SandboxServer, when: str) -> None:
    sandbox.faults({"action": {"type": "drop"}, "match": GROUP_SEND, "nth": [2], "when": when})
    ti = TaskInstance()
    with pytest.raises(AirflowFailException, match="Sent 2, refused 0, unknown 1") as raised:
        run(send_group(open_conversation_id=list(GROUPS)), ti)
    assert isinstance(raised.value.__cause__, IncompleteSendError)
    (unknown,) = ti.pushed("unknown")
    assert unknown["code"] == "no_answer"
    pushed = [receipt["open_conversation_id"] for receipt in ti.pushed("receipts_0")]
    assert sorted([*pushed, *unknown["to"]]) == sorted(GROUPS)
    assert calls(sandbox)[GROUP_SEND] == 3


def test_a_refused_send_keeps_the_receipts_of_what_went_out(sandbox: SandboxServer) -> None:
    ti = TaskInstance()
    with pytest.raises(AirflowFailException) as raised:
        run(send_group(open_conversation_id=[GROUPS[0], "cidnowhere", GROUPS[1]]), ti)
    assert isinstance(raised.value.__cause__, IncompleteSendError)
    assert [receipt["open_conversation_id"] for receipt in ti.pushed("receipts_0")] == list(GROUPS[:2])
    (refused,) = ti.pushed("refused")
    assert (refused["to"], refused["code"]) == (["cidnowhere"], "invalid.openConversationId")
    assert "cidnowhere (invalid.openConversationId)" in str(raised.value)
    assert run(rollback(ti.pushed("receipts_0")))["counts"]["recalled"] == 2


def test_a_send_that_found_no_connection_may_be_tried_again(connect: Connect) -> None:
    connect(host="http://127.0.0.1:1")
    with pytest.raises(IncompleteSendError) as raised:
        run(send_group())
    assert not raised.value.permanent
