"""Checks of fields, with the codes of each page."""

from __future__ import annotations

import json

import pytest

from tests.sandbox.raw_client import RawClient, refused


def test_robot_code_absent_and_empty_differ(client: RawClient) -> None:
    assert refused(client.oto_status("k", robotCode=None), "invalidParameter.robotCode.missing")
    assert refused(client.oto_status("k", robotCode=""), "invalidParameter.robotCode.empty")


SEND_REFUSALS = [
    ("group", {"msgKey": "sampleSong"}, "invalidParameter.msgKey.invalid"),
    ("group", {"msgKey": None}, "invalidParameter.msgKey.empty"),
    ("group", {"msgParam": "hello"}, "invalidParameter.msgParam.invalid"),
    ("group", {"msgParam": "[]"}, "invalidParameter.msgParam.invalid"),
    ("group", {"msgParam": "{}"}, "miss.param.contentOfText"),
    ("group", {"msgParam": json.dumps({"content": "x" * 15_000})}, "invalidParameter.msgParam.tooLong"),
    ("group", {"msgKey": "sampleMarkdown", "msgParam": '{"title": "t"}'}, "miss.param.markdownTotext"),
    ("group", {"openConversationId": None}, "miss.openConversationId"),
    ("group", {"openConversationId": "cidprivate1"}, "invalid.openConversationId"),
    ("group", {"robotCode": None}, "invalidParameter.robotCode.missing"),
    ("group", {"robotCode": ""}, "invalidParameter.robotCode.empty"),
    ("group", {"robotCode": "dingnobody"}, "invalidParameter.robotCode.notExsit"),
    ("group", {"robotCode": "dingother"}, "invalidParameter.robotCode.auth"),
    ("group", {"coolAppCode": "COOLAPP-9"}, "invalidParameter.robotCode.coolApp"),
    ("private_chat", {"coolAppCode": None}, "invalidParameter.robotCode.coolApp"),
    ("oto", {"userIds": [f"user{n:03d}" for n in range(1, 22)]}, "invalidParameter.userIds.overMax"),
    ("oto", {"userIds": []}, "invalidParameter.userIds.empty"),
    ("oto", {"userIds": "user001"}, "invalidParameter.param.invalid"),
    ("oto", {"robotCode": None}, "invalidParameter.robotCode.empty"),
    ("oto", {"openConversationId": "cidgroup1"}, "invalidParameter.param.invalid"),
]


@pytest.mark.parametrize(("kind", "changes", "code"), SEND_REFUSALS)
def test_refused_sends(client: RawClient, kind: str, changes: dict[str, object], code: str) -> None:
    assert refused(client.send(kind, **changes), code)
    assert client.sandbox.snapshot()["messages"] == []


def test_limits_above_the_documented_one(client: RawClient) -> None:
    keys = client.create_messages("oto", 21)
    assert refused(client.recall("oto", keys), "invalidParameter.processQueryKeys.overMax")
    client.behave(max_keys=21)
    assert client.recall("oto", keys).json()["successResult"] == keys
    assert refused(client.recall("oto", [*keys[:20], 5]), "invalidParameter.param.invalid")


@pytest.mark.parametrize("keys", [[], [""], ["k", ""], None, ""])
def test_missing_keys(client: RawClient, keys: object) -> None:
    assert refused(client.recall("oto", keys), "invalidParameter.processQueryKey.missing")


@pytest.mark.parametrize(("size", "status"), [(0, 400), (1, 200), (200, 200), (201, 400), (True, 400)])
def test_page_size(client: RawClient, size: object, status: int) -> None:
    [key] = client.create_messages("group")
    assert client.query("group", key, maxResults=size).status_code == status


def test_numbers_may_be_text_on_the_old_host_only(client: RawClient) -> None:
    [task] = client.create_messages("work_notification")
    assert client.work("recall", {"agent_id": "1000001", "msg_task_id": str(task)})["errcode"] == 0
    body = {"robotCode": "dingsandbox", "remindType": "1", "receiverUserIdList": ["user001"], "content": "!"}
    assert refused(client.post("/v1.0/robot/ding/send", body), "invalidParameter.param.invalid")
