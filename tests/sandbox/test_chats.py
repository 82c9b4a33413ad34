"""Content, readers, faults, meters and calls of the page, with an end to each list."""

from __future__ import annotations

import json

from airflow_provider_dingtalk.sandbox import chats
from tests.sandbox.raw_client import RawClient


def test_message(client: RawClient) -> None:
    param = {"title": "t", "text": "**x**"}
    sent = client.send("group", msgKey="sampleMarkdown", msgParam=json.dumps(param))
    client.control("POST", "read", {"key": sent.json()["processQueryKey"], "user_ids": ["user002"]})
    view = client.control("GET", "chats")
    [message] = view["messages"]
    assert (message["template"], message["param"], message["readers"]) == ("sampleMarkdown", param, ["user002"])
    assert (message["chat"], message["sender"], message["recalled"]) == ("cidgroup1", "dingsandbox", False)
    assert (message["receiver_count"], message["reader_count"]) == (60, 1)
    assert view["people"]["user002"] == "Name of user002"
    assert "msg_param" not in client.control("GET", "truth")["messages"][0]


def test_work_notification_has_the_content_of_its_card(client: RawClient) -> None:
    card = {"title": "t", "markdown": "m", "single_title": "Open", "single_url": "https://example.org"}
    msg = json.dumps({"msgtype": "action_card", "action_card": card})
    client.work("asyncsend_v2", {"agent_id": 1000001, "userid_list": "user001", "msg": msg})
    [message] = client.control("GET", "chats")["messages"]
    assert (message["param"], message["sender"]) == (card, "agent 1000001")


def test_recall_and_its_clearing(client: RawClient) -> None:
    [key] = client.create_messages("oto")
    assert client.control("POST", "recall", {"key": key}) == {"key": key, "recalls": 1}
    assert client.control("GET", "chats")["messages"][0]["recalled"]
    assert client.recalled(key)
    assert client.http.post("/_sandbox/recall", json={"key": "unknown"}).status_code == 400


def test_lists_have_an_end(client: RawClient) -> None:
    keys = client.create_messages("oto", chats.MESSAGES + 5, user_ids=[f"u{n}" for n in range(150)])
    for _ in range(chats.CALLS + 1):
        client.query("group", "k")
    view = client.control("GET", "chats")
    assert [message["key"] for message in view["messages"]] == keys[5:]
    assert len(view["messages"][0]["receivers"]) == chats.PEOPLE
    assert len(view["calls"]) == chats.CALLS and view["calls"][0]["seq"] > view["calls"][-1]["seq"]


def test_meters_and_cost(client: RawClient) -> None:
    client.behave(calls_per_second=2, calls_per_month=3)
    before = client.control("GET", "chats")["calls_this_month"]
    for _ in range(3):
        client.query("group", "k")
    view = client.control("GET", "chats")
    assert view["meters"] == {"robot/groupMessages/query": 2}
    assert (view["calls_this_month"] - before, view["calls_per_second"], view["calls_per_month"]) == (2, 2, 3)
    assert [call["cost"] for call in view["calls"][:3]] == [0, 1, 1]
    client.control("POST", "clock", {"advance": 1})
    assert client.control("GET", "chats")["meters"] == {"robot/groupMessages/query": 0}
