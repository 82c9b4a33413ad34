"""Private-chat messages."""

from __future__ import annotations

from tests.sandbox.raw_client import RawClient, refused


def test_send_reaches_both(client: RawClient) -> None:
    key = client.send("private_chat").json()["processQueryKey"]
    assert client.sandbox.state.messages[key].receivers == ("user001", "user002")


def test_cool_app_is_required(client: RawClient) -> None:
    assert refused(client.send("private_chat", coolAppCode=None), "invalidParameter.robotCode.coolApp")
    assert refused(client.send("private_chat", coolAppCode=""), "invalidParameter.robotCode.coolApp")


def test_group_is_no_private_chat(client: RawClient) -> None:
    [key] = client.create_messages("group")
    answer = client.recall("private_chat", [key], openConversationId="cidgroup1")
    assert refused(answer, "invalid.openConversationId")
    assert refused(client.recall("private_chat", [key]), "invalid.processQueryKey")
    assert not client.recalled(key)
