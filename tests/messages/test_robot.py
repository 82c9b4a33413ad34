"""Parts that the types of robot messages share."""

from __future__ import annotations

import pytest

from airflow_provider_dingtalk.client.endpoints import FailedKey, RecallResult
from airflow_provider_dingtalk.messages.message_types import MESSAGE_TYPES, message_type
from airflow_provider_dingtalk.messages.receipt import Kind, SenderKey
from airflow_provider_dingtalk.messages.robot import ConversationMessage, RobotMessage

ROBOTS = [kind for kind, of_kind in MESSAGE_TYPES.items() if isinstance(of_kind, RobotMessage)]
CONVERSATIONS = [kind for kind, of_kind in MESSAGE_TYPES.items() if isinstance(of_kind, ConversationMessage)]


def test_these_are_robot_messages() -> None:
    assert {Kind.GROUP, Kind.OTO, Kind.PRIVATE_CHAT} <= {*ROBOTS}
    assert {Kind.GROUP, Kind.PRIVATE_CHAT} <= {*CONVERSATIONS} < {*ROBOTS}


@pytest.mark.parametrize("failed", [{"b": "SYSTEM_ERROR"}, [FailedKey(process_query_key="b", code="SYSTEM_ERROR")]])
@pytest.mark.parametrize("kind", ROBOTS)
def test_an_answer_names_recalled_keys_and_reasons(kind: Kind, failed: dict[str, str | None] | list[FailedKey]) -> None:
    answer = RecallResult(success_result=["a"], failed_result=failed)
    assert message_type(kind).recall_lists(["a", "b"], answer) == ({"a"}, {"b": "SYSTEM_ERROR"})
    assert message_type(kind).recall_lists(["a"], RecallResult()) == (set(), {})


@pytest.mark.parametrize("kind", CONVERSATIONS)
def test_a_page_of_readers_is_polled_by_size_and_cursor(kind: Kind) -> None:
    request = message_type(kind).status_request(SenderKey(kind, "robot", None, "cid"), "key", 200, "cursor")
    fields = {name: getattr(request, name) for name in request.__struct_fields__}
    assert fields == {
        "process_query_key": "key",
        "open_conversation_id": "cid",
        "robot_code": "robot",
        "max_results": 200,
        "next_token": "cursor",
    }
