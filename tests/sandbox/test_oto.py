"""One-on-one messages."""

from __future__ import annotations

from tests.sandbox.raw_client import HOUR, RawClient, refused


def test_oto_status_ends_after_24_hours(client: RawClient) -> None:
    [young, old] = client.create_messages("oto", age_seconds=24 * HOUR) + client.create_messages(
        "oto", age_seconds=24 * HOUR + 1
    )
    assert client.oto_status(young).status_code == 200
    assert refused(client.oto_status(old), "processQueryKey.expireTime")


def test_send_lists_people_who_got_nothing(client: RawClient) -> None:
    client.control("POST", "people", {"flow_controlled": ["user002"], "filtered": ["user003"]})
    answer = client.send("oto", userIds=["user001", "user002", "user003", "nobody"]).json()
    assert answer["invalidStaffIdList"] == ["nobody"]
    assert answer["flowControlledStaffIdList"] == ["user002"]
    assert answer["filteredStaffIdList"] == ["user003"]
    assert client.sandbox.state.messages[answer["processQueryKey"]].receivers == ("user001",)
    assert "processQueryKey" in client.send("oto", userIds=["nobody"]).json()


def test_refused_unknown_receivers_send_nothing(client: RawClient) -> None:
    client.behave(unknown_receivers="refused")
    assert refused(client.send("oto", userIds=["user001", "nobody"]), "staffId.notExisted")
    assert client.sandbox.snapshot()["messages"] == []
    assert client.send("oto", userIds=["user001", "user001"]).status_code == 200


def test_recall_needs_no_template(client: RawClient) -> None:
    [key] = client.create_messages("oto")
    client.control("POST", "robots", {"robot_code": "dingsandbox", "template": "missing"})
    assert client.recall("oto", [key]).json()["successResult"] == [key]
    assert refused(client.oto_status(key), "template.not.existed")
