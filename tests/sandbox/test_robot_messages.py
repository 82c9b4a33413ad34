"""Messages of robots: sent, read, recalled; refused as the pages say; and the switches where they say nothing."""

from __future__ import annotations

import json

import pytest

from tests.sandbox.sandbox_dialogue import HOUR, Dialogue, refused

KINDS = ["group", "oto", "private_chat"]
SHARED = ["group", "private_chat"]


@pytest.mark.parametrize("kind", KINDS)
def test_life_of_a_message(talk: Dialogue, kind: str) -> None:
    key = talk.send(kind).json()["processQueryKey"]
    talk.control("POST", "read", {"key": key, "count": 1})
    assert talk.recall(kind, [key]).json() == {"successResult": [key], "failedResult": {}}
    if kind == "oto":
        status = talk.oto_status(key).json()
        assert [person["readStatus"] for person in status["messageReadInfoList"]] == ["READ", "UNREAD"]
    else:
        status = talk.query(kind, key).json()
        assert status["readUserIds"] == ["user001"], "readers are kept when a message is recalled"
    assert status["sendStatus"] == "RECALLED"
    [message] = talk.sandbox.snapshot()["messages"]
    assert (message["kind"], message["status"], message["readers"], message["text"]) == (
        kind,
        "RECALLED",
        1,
        "hello",
    )


def test_keys_look_like_dingtalks(talk: Dialogue) -> None:
    keys = talk.create_messages("oto", 50)
    assert len(set(keys)) == 50
    assert all(sign in "".join(keys) for sign in "+/=")
    key = next(key for key in keys if "+" in key)
    assert talk.oto_status(key).json()["sendStatus"] == "SUCCESS", "survives the query string"


def test_status_over_time(talk: Dialogue) -> None:
    talk.behave(processing_seconds=10, status_delay_seconds=3)
    key = talk.send("group").json()["processQueryKey"]
    assert refused(talk.query("group", key), "processQueryKey.expireTime")
    talk.clock.time += 3
    assert talk.query("group", key).json()["sendStatus"] == "PROCESSING"
    talk.control("POST", "clock", {"advance": 7})
    assert talk.query("group", key).json()["sendStatus"] == "SUCCESS"


def test_oto_status_ends_after_24_hours(talk: Dialogue) -> None:
    [young, old] = talk.create_messages("oto", age_seconds=24 * HOUR) + talk.create_messages(
        "oto", age_seconds=24 * HOUR + 1
    )
    assert talk.oto_status(young).status_code == 200
    assert refused(talk.oto_status(old), "processQueryKey.expireTime")


def test_robot_code_absent_and_empty_differ(talk: Dialogue) -> None:
    assert refused(talk.oto_status("k", robotCode=None), "invalidParameter.robotCode.missing")
    assert refused(talk.oto_status("k", robotCode=""), "invalidParameter.robotCode.empty")


def test_201_readers_are_200_and_1(talk: Dialogue) -> None:
    [key] = talk.create_messages("group", readers=201)
    first = talk.query("group", key, maxResults=200).json()
    second = talk.query("group", key, maxResults=200, nextToken=first["nextToken"]).json()
    assert (len(first["readUserIds"]), first["hasMore"]) == (200, True)
    assert (len(second["readUserIds"]), second["hasMore"], "nextToken" in second) == (1, False, False)
    assert len({*first["readUserIds"], *second["readUserIds"]}) == 201
    [other] = talk.create_messages("group", readers=201)
    foreign = talk.query("group", other, nextToken=first["nextToken"])
    assert refused(foreign, "invalidParameter.cursor.invalid"), "a cursor belongs to one message"


def test_query_scope_switch(talk: Dialogue) -> None:
    [key] = talk.create_messages("group")
    assert talk.query("group", key, robotCode=None, openConversationId=None).json()["sendStatus"] == "SUCCESS"
    talk.behave(query_scope="required")
    assert refused(talk.query("group", key, robotCode=None), "invalidParameter.robotCode.missing")
    talk.behave(query_scope="optional")
    assert talk.query("group", key, robotCode=None, openConversationId=None).json()["sendStatus"] == "SUCCESS"


@pytest.mark.parametrize("source", ["card", "scene_group"])
@pytest.mark.parametrize("kind", ["group", "private_chat"])
def test_keys_of_cards_and_scene_groups_are_taken_as_those_of_sends(talk: Dialogue, kind: str, source: str) -> None:
    keys = talk.create_messages(kind, count=2, source=source, readers=1)
    assert len(talk.query(kind, keys[0]).json()["readUserIds"]) == 1
    assert sorted(talk.recall(kind, keys).json()["successResult"]) == sorted(keys)
    assert talk.query(kind, keys[0]).json()["sendStatus"] == "RECALLED"


def test_oto_send_says_who_got_nothing(talk: Dialogue) -> None:
    talk.control("POST", "people", {"flow_controlled": ["user002"], "filtered": ["user003"]})
    answer = talk.send("oto", userIds=["user001", "user002", "user003", "nobody"]).json()
    assert answer["invalidStaffIdList"] == ["nobody"]
    assert answer["flowControlledStaffIdList"] == ["user002"]
    assert answer["filteredStaffIdList"] == ["user003"]
    assert talk.sandbox.state.messages[answer["processQueryKey"]].receivers == ("user001",)
    assert "processQueryKey" in talk.send("oto", userIds=["nobody"]).json()


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
def test_refused_sends(talk: Dialogue, kind: str, changes: dict[str, object], code: str) -> None:
    assert refused(talk.send(kind, **changes), code)
    assert talk.sandbox.snapshot()["messages"] == []


def test_15000_bytes_are_sent(talk: Dialogue) -> None:
    param = json.dumps({"content": "x" * 14_985})
    assert len(param) == 15_000
    assert talk.send("group", msgParam=param).status_code == 200


def test_sends_where_robots_may_not(talk: Dialogue) -> None:
    talk.control("POST", "conversations", {"open_conversation_id": "cidgroup1", "disbanded": True})
    assert refused(talk.send("group"), "group.disbanded")
    talk.control("POST", "conversations", {"open_conversation_id": "cidgroup1", "corp_id": "dingelsewhere"})
    assert refused(talk.send("group"), "conversation.org.notMatch")
    talk.control("POST", "robots", {"robot_code": "dingsandbox", "stopped": True})
    assert refused(talk.send("oto"), "chatbotId.notAllow.sendOTO")
    assert refused(talk.send("private_chat"), "bot.stopped")


@pytest.mark.parametrize("kind", KINDS)
def test_recalled_twice(talk: Dialogue, kind: str) -> None:
    old, new = talk.create_messages(kind, 2)
    assert talk.recall(kind, [old, old]).json()["successResult"] == [old], "named twice, reported once"
    assert talk.recall(kind, [old]).json() == {"successResult": [old], "failedResult": {}}
    talk.behave(already_recalled="failed")
    assert talk.recall(kind, [old, new]).json() == {"successResult": [new], "failedResult": {old: "SYSTEM_ERROR"}}


def test_recalled_twice_as_refusal_with_partial_effect(talk: Dialogue) -> None:
    talk.behave(already_recalled="not_revoke_all")
    old, new = talk.create_messages("oto", 2)
    talk.recall("oto", [old])
    assert refused(talk.recall("oto", [old, new]), "notRevoke.all.messages")
    assert talk.recalled(new)


@pytest.mark.parametrize("kind", KINDS)
def test_unfit_keys(talk: Dialogue, kind: str) -> None:
    [good] = talk.create_messages(kind)
    [foreign] = talk.create_messages(kind, robot_code="dingother")
    assert refused(talk.recall(kind, [good, "unknown"]), "invalid.processQueryKey")
    assert refused(talk.recall(kind, [good, foreign]), "not.allowed.robotCode")
    assert not talk.recalled(good)
    talk.behave(unfit_keys="per_key")
    failed = {"unknown": "invalid.processQueryKey", foreign: "not.allowed.robotCode"}
    assert talk.recall(kind, [good, "unknown", foreign]).json() == {
        "successResult": [good],
        "failedResult": failed,
    }
    assert talk.recalled(good) and not talk.recalled(foreign)


def test_key_of_another_conversation(talk: Dialogue) -> None:
    [key] = talk.create_messages("group", open_conversation_id="cidgroup2")
    assert refused(talk.recall("group", [key]), "invalid.processQueryKey")
    assert refused(talk.recall("oto", [key]), "invalid.processQueryKey")


def test_recall_windows(talk: Dialogue) -> None:
    fresh, stale = talk.create_messages("oto", age_seconds=24 * HOUR) + talk.create_messages(
        "oto", age_seconds=24 * HOUR + 1
    )
    assert talk.recall("oto", [fresh]).status_code == 200
    assert refused(talk.recall("oto", [stale]), "robot.processQueryKey.expired")
    for kind in SHARED:
        keys = talk.create_messages(kind, 2, age_seconds=25 * HOUR)
        assert talk.recall(kind, keys[:1]).status_code == 200
        talk.behave(recall_window_hours=24)
        assert refused(talk.recall(kind, keys[1:]), "robot.processQueryKey.expired")
        talk.behave(recall_window_hours=None)


def test_too_early_and_lowered_maximum(talk: Dialogue) -> None:
    talk.behave(recall_too_early_seconds=2, max_keys=10)
    [key] = talk.create_messages("group")
    assert talk.recall("group", [key]).json()["failedResult"] == {key: "SYSTEM_ERROR"}
    assert refused(talk.recall("group", ["k"] * 11), "invalidParameter.processQueryKeys.overMax")
    talk.clock.time += 2
    assert talk.recall("group", [key]).json()["successResult"] == [key]


def test_bodies_that_are_no_json(talk: Dialogue) -> None:
    headers = {"x-acs-dingtalk-access-token": talk.token}
    for path, code in (("groupMessages/recall", "param.invalid"), ("groupMessages/send", "msgBody.invalid")):
        answer = talk.http.post(f"/v1.0/robot/{path}", content=b"{", headers=headers)
        assert refused(answer, f"invalidParameter.{code}")


def test_ding(talk: Dialogue) -> None:
    body = {
        "robotCode": "dingsandbox",
        "remindType": 1,
        "receiverUserIdList": ["user001", "nobody"],
        "content": "!",
    }
    sent = talk.post("/v1.0/robot/ding/send", body).json()
    assert sent["failedList"] == {"staffId.notExisted": ["nobody"]}
    recall = {"robotCode": "dingsandbox", "openDingId": sent["openDingId"]}
    assert refused(talk.post("/v1.0/robot/ding/recall", {**recall, "robotCode": "dingother"}), "recall.ding.exception")
    for _ in range(2):
        assert talk.post("/v1.0/robot/ding/recall", recall).json() == {"openDingId": sent["openDingId"]}
    talk.behave(already_recalled="failed")
    assert refused(talk.post("/v1.0/robot/ding/recall", recall), "recall.ding.exception")
    assert refused(talk.post("/v1.0/robot/ding/recall", {"robotCode": "x"}), "invalidParameter.param.invalid")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"robotCode": "dingnobody"}, "invalid.chatbotId"),
        ({"receiverUserIdList": []}, "miss.staffId"),
        ({"receiverUserIdList": ["nobody"]}, "miss.staffId"),
        ({"receiverUserIdList": ["user001"] * 201}, "ding.receivercount.limit"),
        (
            {"remindType": 2, "receiverUserIdList": [f"user{n:03d}" for n in range(1, 22)]},
            "ding.receivercount.limit",
        ),
        ({"remindType": 3}, "ding.serverquota.insufficient"),
        ({"remindType": 4}, "invalidParameter.param.invalid"),
    ],
)
def test_refused_dings(talk: Dialogue, changes: dict[str, object], code: str) -> None:
    talk.behave(phone_dings_left=0)
    body = {"robotCode": "dingsandbox", "remindType": 1, "receiverUserIdList": ["user001"], "content": "!"}
    assert refused(talk.post("/v1.0/robot/ding/send", {**body, **changes}), code)
