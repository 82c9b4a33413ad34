"""DINGs."""

from __future__ import annotations

import httpx
import pytest

from tests.sandbox.raw_client import RawClient, refused


def test_ding(client: RawClient) -> None:
    body = {
        "robotCode": "dingsandbox",
        "remindType": 1,
        "receiverUserIdList": ["user001", "nobody"],
        "content": "!",
    }
    sent = client.post("/v1.0/robot/ding/send", body).json()
    assert sent["failedList"] == {"staffId.notExisted": ["nobody"]}
    recall = {"robotCode": "dingsandbox", "openDingId": sent["openDingId"]}
    assert refused(
        client.post("/v1.0/robot/ding/recall", {**recall, "robotCode": "dingother"}), "recall.ding.exception"
    )
    for _ in range(2):
        assert client.post("/v1.0/robot/ding/recall", recall).json() == {"openDingId": sent["openDingId"]}
    client.behave(already_recalled="failed")
    assert refused(client.post("/v1.0/robot/ding/recall", recall), "recall.ding.exception")
    assert refused(client.post("/v1.0/robot/ding/recall", {"robotCode": "x"}), "invalidParameter.param.invalid")


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
def test_refused_dings(client: RawClient, changes: dict[str, object], code: str) -> None:
    client.behave(phone_dings_left=0)
    body = {"robotCode": "dingsandbox", "remindType": 1, "receiverUserIdList": ["user001"], "content": "!"}
    assert refused(client.post("/v1.0/robot/ding/send", {**body, **changes}), code)


def _send(client: RawClient, *users: str, remind_type: int = 2) -> httpx.Response:
    body = {"robotCode": "dingsandbox", "remindType": remind_type, "receiverUserIdList": list(users), "content": "!"}
    return client.post("/v1.0/robot/ding/send", body)


def _left(client: RawClient) -> int:
    return int(client.control("GET", "behaviour")["phone_dings_left"])


def test_refused_ding_is_not_charged(client: RawClient) -> None:
    client.behave(phone_dings_left=3)
    assert refused(_send(client, "nobody"), "miss.staffId")
    assert _left(client) == 3
    assert refused(_send(client, "user001", "user002", "user003", "user004"), "ding.serverquota.insufficient")
    assert _left(client) == 3
    assert _send(client, "user001", "user002").status_code == 200
    assert _left(client) == 1
    assert _send(client, "user001", "user002", remind_type=1).status_code == 200
    assert _left(client) == 1, "DINGs in the app cost nothing"


def test_key_of_another_type_is_no_ding(client: RawClient) -> None:
    [key] = client.create_messages("oto")
    recall = {"robotCode": "dingsandbox", "openDingId": key}
    assert refused(client.post("/v1.0/robot/ding/recall", recall), "recall.ding.exception")
    assert not client.recalled(key)
