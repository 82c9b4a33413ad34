"""Group messages."""

from __future__ import annotations

from tests.sandbox.raw_client import RawClient, refused


def test_key_of_another_conversation(client: RawClient) -> None:
    [key] = client.create_messages("group", open_conversation_id="cidgroup2")
    assert refused(client.recall("group", [key]), "invalid.processQueryKey")
    assert refused(client.recall("oto", [key]), "invalid.processQueryKey")


def test_send_reaches_the_members(client: RawClient) -> None:
    key = client.send("group", openConversationId="cidgroup2").json()["processQueryKey"]
    message = client.sandbox.state.messages[key]
    assert (message.kind, message.open_conversation_id, len(message.receivers)) == ("group", "cidgroup2", 60)


def test_cool_app_is_optional_and_checked(client: RawClient) -> None:
    assert client.send("group", coolAppCode="COOLAPP-1").status_code == 200
    assert refused(client.send("group", coolAppCode="COOLAPP-9"), "invalidParameter.robotCode.coolApp")
