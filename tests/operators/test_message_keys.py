"""Keys from elsewhere: a key alone is enough to ask, and keys of cards are as good as those of sends."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.operators import (
    DingTalkRecallGroupMessagesOperator,
    DingTalkRecallPrivateChatMessagesOperator,
)
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.sensors import (
    DingTalkGroupMessageSensor,
    DingTalkOTOMessageSensor,
    DingTalkPrivateChatMessageSensor,
)
from airflow_provider_dingtalk.version_compat import AirflowFailException
from tests.support.airflow_seams import context, is_recalled, key_of, planted
from tests.support.connections import Connect
from tests.support.sensors import MODES, end_of

SENSORS: dict[str, Any] = {"group": DingTalkGroupMessageSensor, "private_chat": DingTalkPrivateChatMessageSensor}
RECALLS: dict[str, Any] = {
    "group": DingTalkRecallGroupMessagesOperator,
    "private_chat": DingTalkRecallPrivateChatMessagesOperator,
}


def sensor(kind: str, mode: str = "poke", **arguments: Any) -> Any:
    chosen = {"deferrable": True} if mode == "deferred" else {"deferrable": False, "mode": mode}
    return SENSORS[kind](task_id="wait", poke_interval=0, timeout=60, **chosen, **arguments)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", SENSORS)
@pytest.mark.parametrize("with_robot", [True, False])
def test_a_key_alone_is_enough_to_ask(
    sandbox: SandboxServer, connect: Connect, kind: str, mode: str, with_robot: bool
) -> None:
    connect(extra={} if with_robot else {"robot_code": None})
    (receipt,) = planted(sandbox, kind, readers=2)
    (found,) = end_of(sensor(kind, mode, process_query_key=key_of(receipt), min_readers=2))
    assert found["readers"] == 2


@pytest.mark.parametrize("kind", SENSORS)
def test_a_receipt_without_sender_is_enough_to_ask_and_not_to_recall(
    sandbox: SandboxServer, hook: DingTalkHook, kind: str
) -> None:
    (receipt,) = planted(sandbox, kind)
    bare = {"kind": kind, "process_query_key": key_of(receipt)}
    assert end_of(sensor(kind, receipts=[bare]))[0]["send_status"] == "SUCCESS"
    recall = RECALLS[kind](task_id="recall", receipts=[bare])
    with pytest.raises(AirflowFailException, match=r"receipts\[0\]\.(robot_code|open_conversation_id): is missing"):
        recall.execute(context())
    assert not is_recalled(sandbox, receipt)


def test_a_strict_dingtalk_says_what_is_missing(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    sandbox.state.behaviour = sandbox.state.behaviour.changed({"query_scope": "required"})
    (receipt,) = planted(sandbox, "private_chat")
    with pytest.raises(AirflowFailException, match="openConversationId"):
        end_of(sensor("private_chat", process_query_key=key_of(receipt)))


def test_a_one_on_one_message_still_needs_its_robot(sandbox: SandboxServer, connect: Connect) -> None:
    connect(extra={"robot_code": None})
    with pytest.raises(AirflowFailException, match="robot_code: is missing"):
        end_of(DingTalkOTOMessageSensor(task_id="wait", process_query_key="k", timeout=0))


def test_a_list_is_not_one_key(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    for odd in (["k1"], '["k1", "k2"]'):
        with pytest.raises(AirflowFailException, match="process_query_key"):
            end_of(sensor("group", process_query_key=odd))


@pytest.mark.parametrize("source", ["card", "scene_group"])
@pytest.mark.parametrize("kind", SENSORS)
def test_a_cards_key_can_be_waited_for_and_recalled(
    sandbox: SandboxServer, hook: DingTalkHook, kind: str, source: str
) -> None:
    (receipt,) = planted(sandbox, kind, source=source, readers=1)
    key, conversation = key_of(receipt), receipt["open_conversation_id"]
    (found,) = end_of(sensor(kind, process_query_key=key, open_conversation_id=conversation, min_readers=1))
    assert found == {"key": key, "send_status": "SUCCESS", "readers": 1}
    recall = RECALLS[kind](task_id="recall", process_query_keys=[key], open_conversation_id=conversation)
    assert recall.execute(context())["recalled"] == [key]
    assert is_recalled(sandbox, receipt)


def test_the_hook_takes_a_key_alone_for_asking(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    (receipt,) = planted(sandbox, "private_chat", readers=1)
    (message_status,) = hook.status([{"kind": "private_chat", "process_query_key": key_of(receipt)}])
    assert (message_status.send_status, len(message_status.readers or ())) == ("SUCCESS", 1)
