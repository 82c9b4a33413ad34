"""Requests as received: bodies, tokens and keys."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_dingtalk.client.endpoints import RecallOtoMessages, SendOtoMessages
from airflow_provider_dingtalk.sandbox.call import Call
from airflow_provider_dingtalk.sandbox.default import default_state
from tests.sandbox.raw_client import Clock, RawClient, refused


def test_bodies_that_are_not_json(client: RawClient) -> None:
    headers = {"x-acs-dingtalk-access-token": client.token}
    for path, code in (("groupMessages/recall", "param.invalid"), ("groupMessages/send", "msgBody.invalid")):
        answer = client.http.post(f"/v1.0/robot/{path}", content=b"{", headers=headers)
        assert refused(answer, f"invalidParameter.{code}")


@pytest.mark.parametrize("place", ["query", "form", "json"])
def test_token_and_bodies_of_the_page(client: RawClient, place: str) -> None:
    """DingTalk's page shows a form with the token in it, and says the token goes into the query."""
    [task] = client.create_messages("work_notification")
    path = "/topapi/message/corpconversation/recall"
    fields: dict[str, Any] = {"agent_id": 1000001, "msg_task_id": task}
    token = {"access_token": client.token}
    if place == "form":
        answer = client.http.post(path, data={**fields, **token})
    elif place == "query":
        answer = client.http.post(path, params=token, data=fields)
    else:
        answer = client.http.post(path, params=token, json=fields)
    assert answer.json() == {"errcode": 0, "errmsg": "ok"}


@pytest.mark.parametrize(
    ("fields", "count"),
    [({}, 0), ({"processQueryKeys": ["a", "b"]}, 2), ({"processQueryKeys": "a"}, 0), ({"task_id": "1"}, 1)],
)
def test_key_count(fields: dict[str, Any], count: int) -> None:
    call = Call(state=default_state(), endpoint=RecallOtoMessages, fields=fields)
    assert call.key_count() == count


def test_client_is_known_after_the_token_is_checked() -> None:
    call = Call(state=default_state(), endpoint=RecallOtoMessages)
    with pytest.raises(RuntimeError):
        _ = call.client


def test_deliver_takes_sender_and_time_from_the_call() -> None:
    clock = Clock()
    state = default_state(now=clock)
    call = Call(state=state, endpoint=SendOtoMessages, app=state.apps["dingsandbox"])
    assert call.deliver("oto", "k", text="hello") == "k"
    message = state.messages["k"]
    assert (message.client_id, message.sent_at, message.text) == ("dingsandbox", clock.time, "hello")
