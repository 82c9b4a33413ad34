"""Robot messages: sends, recalls and queries that all their types share."""

from __future__ import annotations

import pytest

from tests.sandbox.raw_client import HOUR, RawClient, refused

KINDS = ["group", "oto", "private_chat"]


SHARED = ["group", "private_chat"]


@pytest.mark.parametrize("kind", KINDS)
def test_life_of_a_message(client: RawClient, kind: str) -> None:
    key = client.send(kind).json()["processQueryKey"]
    client.control("POST", "read", {"key": key, "count": 1})
    assert client.recall(kind, [key]).json() == {"successResult": [key], "failedResult": {}}
    if kind == "oto":
        status = client.oto_status(key).json()
        assert [person["readStatus"] for person in status["messageReadInfoList"]] == ["READ", "UNREAD"]
    else:
        status = client.query(kind, key).json()
        assert status["readUserIds"] == ["user001"], "readers are kept when a message is recalled"
    assert status["sendStatus"] == "RECALLED"
    [message] = client.sandbox.snapshot()["messages"]
    assert (message["kind"], message["status"], message["readers"], message["text"]) == (
        kind,
        "RECALLED",
        1,
        "hello",
    )


def test_status_over_time(client: RawClient) -> None:
    client.behave(processing_seconds=10, status_delay_seconds=3)
    key = client.send("group").json()["processQueryKey"]
    assert refused(client.query("group", key), "processQueryKey.expireTime")
    client.clock.time += 3
    assert client.query("group", key).json()["sendStatus"] == "PROCESSING"
    client.control("POST", "clock", {"advance": 7})
    assert client.query("group", key).json()["sendStatus"] == "SUCCESS"


def test_201_readers_are_200_and_1(client: RawClient) -> None:
    [key] = client.create_messages("group", readers=201)
    first = client.query("group", key, maxResults=200).json()
    second = client.query("group", key, maxResults=200, nextToken=first["nextToken"]).json()
    assert (len(first["readUserIds"]), first["hasMore"]) == (200, True)
    assert (len(second["readUserIds"]), second["hasMore"], "nextToken" in second) == (1, False, False)
    assert len({*first["readUserIds"], *second["readUserIds"]}) == 201
    [other] = client.create_messages("group", readers=201)
    foreign = client.query("group", other, nextToken=first["nextToken"])
    assert refused(foreign, "invalidParameter.cursor.invalid"), "a cursor belongs to one message"


def test_query_scope_switch(client: RawClient) -> None:
    [key] = client.create_messages("group")
    assert client.query("group", key, robotCode=None, openConversationId=None).json()["sendStatus"] == "SUCCESS"
    client.behave(query_scope="required")
    assert refused(client.query("group", key, robotCode=None), "invalidParameter.robotCode.missing")
    client.behave(query_scope="optional")
    assert client.query("group", key, robotCode=None, openConversationId=None).json()["sendStatus"] == "SUCCESS"


@pytest.mark.parametrize("kind", KINDS)
def test_recalled_twice(client: RawClient, kind: str) -> None:
    old, new = client.create_messages(kind, 2)
    assert client.recall(kind, [old, old]).json()["successResult"] == [old], "named twice, reported once"
    assert client.recall(kind, [old]).json() == {"successResult": [old], "failedResult": {}}
    client.behave(already_recalled="failed")
    assert client.recall(kind, [old, new]).json() == {"successResult": [new], "failedResult": {old: "SYSTEM_ERROR"}}


def test_recalled_twice_as_refusal_with_partial_effect(client: RawClient) -> None:
    client.behave(already_recalled="not_revoke_all")
    old, new = client.create_messages("oto", 2)
    client.recall("oto", [old])
    assert refused(client.recall("oto", [old, new]), "notRevoke.all.messages")
    assert client.recalled(new)


@pytest.mark.parametrize("kind", KINDS)
def test_unfit_keys(client: RawClient, kind: str) -> None:
    [good] = client.create_messages(kind)
    [foreign] = client.create_messages(kind, robot_code="dingother")
    assert refused(client.recall(kind, [good, "unknown"]), "invalid.processQueryKey")
    assert refused(client.recall(kind, [good, foreign]), "not.allowed.robotCode")
    assert not client.recalled(good)
    client.behave(unfit_keys="per_key")
    failed = {"unknown": "invalid.processQueryKey", foreign: "not.allowed.robotCode"}
    assert client.recall(kind, [good, "unknown", foreign]).json() == {
        "successResult": [good],
        "failedResult": failed,
    }
    assert client.recalled(good) and not client.recalled(foreign)


def test_recall_windows(client: RawClient) -> None:
    fresh, stale = client.create_messages("oto", age_seconds=24 * HOUR) + client.create_messages(
        "oto", age_seconds=24 * HOUR + 1
    )
    assert client.recall("oto", [fresh]).status_code == 200
    assert refused(client.recall("oto", [stale]), "robot.processQueryKey.expired")
    for kind in SHARED:
        keys = client.create_messages(kind, 2, age_seconds=25 * HOUR)
        assert client.recall(kind, keys[:1]).status_code == 200
        client.behave(recall_window_hours=24)
        assert refused(client.recall(kind, keys[1:]), "robot.processQueryKey.expired")
        client.behave(recall_window_hours=None)


def test_too_early_and_lowered_maximum(client: RawClient) -> None:
    client.behave(recall_too_early_seconds=2, max_keys=10)
    [key] = client.create_messages("group")
    assert client.recall("group", [key]).json()["failedResult"] == {key: "SYSTEM_ERROR"}
    assert refused(client.recall("group", ["k"] * 11), "invalidParameter.processQueryKeys.overMax")
    client.clock.time += 2
    assert client.recall("group", [key]).json()["successResult"] == [key]
