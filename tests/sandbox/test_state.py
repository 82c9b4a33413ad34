"""State of the sandbox."""

from __future__ import annotations

from airflow_provider_dingtalk.sandbox.default import default_state
from airflow_provider_dingtalk.sandbox.state import Message
from tests.sandbox.raw_client import Clock, RawClient


def test_keys_look_like_dingtalks(client: RawClient) -> None:
    keys = client.create_messages("oto", 50)
    assert len(set(keys)) == 50
    assert all(sign in "".join(keys) for sign in "+/=")
    key = next(key for key in keys if "+" in key)
    assert client.oto_status(key).json()["sendStatus"] == "SUCCESS", "survives the query string"


def test_reset_repeats_the_seed() -> None:
    state = default_state(seed=3)
    before = [state.random_key(), state.new_token(), state.request_id()]
    state.reset()
    assert [state.random_key(), state.new_token(), state.request_id()] == before
    other = default_state(seed=4)
    assert [other.random_key(), other.new_token(), other.request_id()] != before


def test_repeated_recall_keeps_the_first_time() -> None:
    clock = Clock()
    state = default_state(now=clock)
    message = Message(key="k", kind="oto", client_id="a", sent_at=clock.time)
    state.deliver(message)
    state.recall(message)
    clock.time += 5
    state.recall(message)
    assert (message.recalled_at, message.recalls, state.recalled["oto"]) == (clock.time - 5, 2, 1)


def test_readers_become_receivers_and_keep_their_first_time() -> None:
    clock = Clock()
    state = default_state(now=clock)
    message = Message(key="k", kind="oto", client_id="a", sent_at=clock.time, receivers=("user001",))
    state.read(message, ["newcomer"])
    clock.time += 5
    state.read(message, ["user001", "newcomer"])
    assert message.receivers == ("user001", "newcomer")
    assert message.readers == {"newcomer": clock.time - 5, "user001": clock.time}
    assert state.people["newcomer"] == "Name of newcomer"


def test_snapshot_shows_numbers_in_place_of_people(client: RawClient) -> None:
    client.create_messages("group", readers=2)
    [message] = client.sandbox.snapshot()["messages"]
    assert (message["receivers"], message["readers"], message["status"]) == (60, 2, "SUCCESS")


def test_people_are_created_once() -> None:
    state = default_state()
    assert len(state.ensure_people(62)) == 62
    assert state.ensure_people(2) == ["user001", "user002"]
    assert list(state.people)[-1] == "user062"
