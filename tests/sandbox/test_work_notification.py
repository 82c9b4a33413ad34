"""Work notifications on the old host."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.sandbox.sandbox_dialogue import HOUR, Dialogue

TEXT = json.dumps({"msgtype": "text", "text": {"content": "hello"}})


def _send(talk: Dialogue, **changes: Any) -> dict[str, Any]:
    form = {"agent_id": 1000, "userid_list": "user001,user002,nobody", "msg": TEXT, **changes}
    return talk.work("asyncsend_v2", form)


def test_life_of_a_task(talk: Dialogue) -> None:
    talk.behave(processing_seconds=10)
    task = _send(talk)["task_id"]
    assert isinstance(task, int)
    asked = {"agent_id": 1000, "task_id": task}
    talk.clock.time += 5
    assert talk.work("getsendprogress", asked)["progress"] == {"progress_in_percent": 50, "status": 1}
    talk.clock.time += 5
    assert talk.work("getsendprogress", asked)["progress"] == {"progress_in_percent": 100, "status": 2}
    talk.control("POST", "read", {"key": task, "user_ids": ["user002"]})
    result = talk.work("getsendresult", asked)["send_result"]
    assert (result["read_user_id_list"], result["unread_user_id_list"]) == (["user002"], ["user001"])
    assert result["invalid_user_id_list"] == ["nobody"]
    assert talk.work("recall", {"agent_id": 1000, "msg_task_id": task}) == {"errcode": 0, "errmsg": "ok"}
    assert talk.recalled(task)


@pytest.mark.parametrize("place", ["query", "form", "json"])
def test_token_and_bodies_of_the_page(talk: Dialogue, place: str) -> None:
    """DingTalk's page shows a form with the token in it, and says the token goes into the query."""
    [task] = talk.create_messages("work_notification")
    path = "/topapi/message/corpconversation/recall"
    fields: dict[str, Any] = {"agent_id": 1000, "msg_task_id": task}
    token = {"access_token": talk.token}
    if place == "form":
        answer = talk.http.post(path, data={**fields, **token})
    elif place == "query":
        answer = talk.http.post(path, params=token, data=fields)
    else:
        answer = talk.http.post(path, params=token, json=fields)
    assert answer.json() == {"errcode": 0, "errmsg": "ok"}


def test_recalled_twice(talk: Dialogue) -> None:
    [task] = talk.create_messages("work_notification")
    form = {"agent_id": 1000, "msg_task_id": task}
    assert [talk.work("recall", form)["errcode"] for _ in range(2)] == [0, 0]
    talk.behave(already_recalled="failed")
    assert talk.work("recall", form)["errcode"] == 400002


def test_tasks_that_cannot_be_recalled(talk: Dialogue) -> None:
    [old] = talk.create_messages("work_notification", age_seconds=24 * HOUR + 1)
    [foreign] = talk.create_messages("work_notification", agent_id=2000)
    for agent, task in ((1000, old), (1000, foreign), (2000, foreign), (1000, 1), (5, 1)):
        assert talk.work("recall", {"agent_id": agent, "msg_task_id": task})["errcode"] == 400002
    for api in ("getsendprogress", "getsendresult"):
        assert talk.work(api, {"agent_id": 1000, "task_id": 1})["errcode"] == 40035
        assert talk.work(api, {"agent_id": 1000})["errcode"] == 40035
    assert talk.work("getsendresult", {"agent_id": 1000, "task_id": old})["errcode"] == 40035
    assert talk.work("getsendprogress", {"agent_id": 1000, "task_id": old})["errcode"] == 0


@pytest.mark.parametrize(
    ("changes", "errcode"),
    [
        ({"agent_id": 2000}, 400002),
        ({"userid_list": ""}, 40035),
        ({"userid_list": ",".join(f"u{n}" for n in range(101))}, 40035),
        ({"msg": "hello"}, 40035),
        ({"msg": json.dumps({"msgtype": "song", "song": {}})}, 40035),
        ({"msg": json.dumps({"msgtype": "text", "text": {"content": "x" * 2048}})}, 40035),
        ({"colour": "blue"}, 40035),
    ],
)
def test_refused_sends(talk: Dialogue, changes: dict[str, Any], errcode: int) -> None:
    assert _send(talk, **changes)["errcode"] == errcode


def test_departments_and_everybody(talk: Dialogue) -> None:
    task = _send(talk, userid_list="", dept_id_list="1,99")["task_id"]
    result = talk.work("getsendresult", {"agent_id": 1000, "task_id": task})["send_result"]
    assert (len(result["unread_user_id_list"]), result["invalid_dept_id_list"]) == (60, [99])
    talk.control("POST", "people", {"count": 101})
    talk.behave(repeat_filter=False)
    task = _send(talk, userid_list="", to_all_user="true")["task_id"]
    assert talk.work("getsendresult", {"agent_id": 1000, "task_id": task})["errcode"] == -1, "over 100 receivers"


def test_same_text_reaches_a_person_once_a_day(talk: Dialogue) -> None:
    tasks = [_send(talk)["task_id"], _send(talk)["task_id"]]
    talk.behave(token_seconds=90_000)
    talk.token = talk.login()
    talk.clock.time += 24 * HOUR
    tasks.append(_send(talk)["task_id"])
    receivers = [talk.sandbox.state.messages[task].receivers for task in tasks]
    assert receivers == [("user001", "user002"), (), ("user001", "user002")]
    result = talk.work("getsendresult", {"agent_id": 1000, "task_id": tasks[1]})["send_result"]
    assert result["forbidden_user_id_list"] == ["user001", "user002"]
    assert {entry["code"] for entry in result["forbidden_list"]} == {"143106"}
