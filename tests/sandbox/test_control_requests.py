"""Control requests that create people, messages and readers."""

from __future__ import annotations

import pytest

from tests.sandbox.raw_client import RawClient


def test_people_read(client: RawClient) -> None:
    [key] = client.create_messages("oto", user_ids=["user005"])
    assert client.control("POST", "read", {"key": key, "user_ids": ["user005", "newcomer"]})["readers"] == 2
    [key] = client.create_messages("group")
    assert client.control("POST", "read", {"key": key, "count": 75})["readers"] == 75
    assert client.sandbox.snapshot()["people"] == 75


@pytest.mark.parametrize("source", ["card", "scene_group"])
@pytest.mark.parametrize("kind", ["group", "private_chat"])
def test_keys_of_cards_and_scene_groups_work_like_those_of_sends(client: RawClient, kind: str, source: str) -> None:
    keys = client.create_messages(kind, count=2, source=source, readers=1)
    assert len(client.query(kind, keys[0]).json()["readUserIds"]) == 1
    assert sorted(client.recall(kind, keys).json()["successResult"]) == sorted(keys)
    assert client.query(kind, keys[0]).json()["sendStatus"] == "RECALLED"


def test_null_keeps_a_value(client: RawClient) -> None:
    made = client.control("POST", "conversations", {"open_conversation_id": "cidnew", "members": ["newcomer"]})
    assert (made["kind"], made["robots"], made["members"]) == ("group", ["dingsandbox"], ["newcomer"])
    changes = {"open_conversation_id": "cidnew", "kind": None, "stopped": True}
    assert client.control("POST", "conversations", changes) == {**made, "stopped": True}
    assert "newcomer" in client.sandbox.state.people


def test_age_and_sender_of_created_messages(client: RawClient) -> None:
    [key] = client.create_messages("work_notification", age_seconds=60, agent_id=2000002)
    message = client.sandbox.state.messages[key]
    assert (message.agent_id, message.robot_code, message.client_id) == (2000002, None, "dingother")
    assert message.sent_at == client.clock.time - 60


def test_clock(client: RawClient) -> None:
    assert client.control("POST", "clock", {"advance": 5})["offset"] == 5
    assert client.control("POST", "clock", {"advance": -2}) == {"time": client.clock.time + 3, "offset": 3}
