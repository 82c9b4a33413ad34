"""Checks of robots and conversations."""

from __future__ import annotations

import pytest

from tests.sandbox.raw_client import RawClient, refused


def test_sends_that_conversations_and_robots_forbid(client: RawClient) -> None:
    client.control("POST", "conversations", {"open_conversation_id": "cidgroup1", "disbanded": True})
    assert refused(client.send("group"), "group.disbanded")
    client.control("POST", "conversations", {"open_conversation_id": "cidgroup1", "corp_id": "dingelsewhere"})
    assert refused(client.send("group"), "conversation.org.notMatch")
    client.control("POST", "robots", {"robot_code": "dingsandbox", "stopped": True})
    assert refused(client.send("oto"), "chatbotId.notAllow.sendOTO")
    assert refused(client.send("private_chat"), "bot.stopped")


@pytest.mark.parametrize(
    ("changes", "recall", "query"),
    [
        ({"robotCode": "dingnobody"}, "invalidParameter.robotCode", "invalidParameter.robotCode.notExsit"),
        ({"robotCode": "dingother"}, "not.allowed.robotCode", "invalidParameter.robotCode.invalid"),
        ({"openConversationId": "cidnowhere"}, "invalid.openConversationId", "invalid.openConversationId"),
    ],
)
def test_codes_of_recalls_and_queries_differ(
    client: RawClient, changes: dict[str, str], recall: str, query: str
) -> None:
    [key] = client.create_messages("group")
    assert refused(client.recall("group", [key], **changes), recall)
    assert refused(client.query("group", key, **changes), query)


def test_switches_select_the_codes(client: RawClient) -> None:
    client.behave(foreign_robot_code="unauthorized", unknown_robot_code="a.code", unknown_robot_query_code="b.code")
    assert refused(client.recall("group", ["k"], robotCode="dingother"), "unauthorized")
    assert refused(client.query("group", "k", robotCode="dingother"), "unauthorized")
    assert refused(client.recall("group", ["k"], robotCode="dingnobody"), "a.code")
    assert refused(client.query("group", "k", robotCode="dingnobody"), "b.code")
    assert refused(client.send("group", robotCode="dingother"), "invalidParameter.robotCode.auth"), "sends have none"


@pytest.mark.parametrize(("template", "code"), [("stopped", "template.stopped"), ("missing", "template.not.existed")])
def test_templates(client: RawClient, template: str, code: str) -> None:
    client.control("POST", "robots", {"robot_code": "dingsandbox", "template": template})
    assert refused(client.send("group"), code)
