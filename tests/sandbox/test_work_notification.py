"""Work notifications on the old host."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from airflow_provider_dingtalk.sandbox.default import default_state
from airflow_provider_dingtalk.sandbox.testing import running_sandbox
from tests.sandbox.raw_client import HOUR, Clock, RawClient

TEXT = json.dumps({"msgtype": "text", "text": {"content": "hello"}})


def _send(client: RawClient, **changes: Any) -> dict[str, Any]:
    form = {"agent_id": 1000001, "userid_list": "user001,user002,nobody", "msg": TEXT, **changes}
    return client.work("asyncsend_v2", form)


def test_life_of_a_task(client: RawClient) -> None:
    client.behave(processing_seconds=10)
    task = _send(client)["task_id"]
    assert isinstance(task, int)
    asked = {"agent_id": 1000001, "task_id": task}
    client.clock.time += 5
    assert client.work("getsendprogress", asked)["progress"] == {"progress_in_percent": 50, "status": 1}
    client.clock.time += 5
    assert client.work("getsendprogress", asked)["progress"] == {"progress_in_percent": 100, "status": 2}
    client.control("POST", "read", {"key": task, "user_ids": ["user002"]})
    result = client.work("getsendresult", asked)["send_result"]
    assert (result["read_user_id_list"], result["unread_user_id_list"]) == (["user002"], ["user001"])
    assert result["invalid_user_id_list"] == ["nobody"]
    assert client.work("recall", {"agent_id": 1000001, "msg_task_id": task}) == {"errcode": 0, "errmsg": "ok"}
    assert client.recalled(task)


def test_recalled_twice(client: RawClient) -> None:
    [task] = client.create_messages("work_notification")
    form = {"agent_id": 1000001, "msg_task_id": task}
    assert [client.work("recall", form)["errcode"] for _ in range(2)] == [0, 0]
    client.behave(already_recalled="failed")
    assert client.work("recall", form)["errcode"] == 400002


def test_tasks_that_cannot_be_recalled(client: RawClient) -> None:
    [old] = client.create_messages("work_notification", age_seconds=24 * HOUR + 1)
    [foreign] = client.create_messages("work_notification", agent_id=2000002)
    for agent, task in ((1000001, old), (1000001, foreign), (2000002, foreign), (1000001, 1), (5, 1)):
        assert client.work("recall", {"agent_id": agent, "msg_task_id": task})["errcode"] == 400002
    for api in ("getsendprogress", "getsendresult"):
        assert client.work(api, {"agent_id": 1000001, "task_id": 1})["errcode"] == 40035
        assert client.work(api, {"agent_id": 1000001})["errcode"] == 40035
    assert client.work("getsendresult", {"agent_id": 1000001, "task_id": old})["errcode"] == 40035
    assert client.work("getsendprogress", {"agent_id": 1000001, "task_id": old})["errcode"] == 0


@pytest.mark.parametrize(
    ("changes", "errcode"),
    [
        ({"agent_id": 2000002}, 400002),
        ({"userid_list": ""}, 40035),
        ({"userid_list": ",".join(f"u{n}" for n in range(101))}, 40035),
        ({"msg": "hello"}, 40035),
        ({"msg": json.dumps({"msgtype": "song", "song": {}})}, 40035),
        ({"msg": json.dumps({"msgtype": "text", "text": {"content": "x" * 2048}})}, 40035),
        ({"colour": "blue"}, 40035),
    ],
)
def test_refused_sends(client: RawClient, changes: dict[str, Any], errcode: int) -> None:
    assert _send(client, **changes)["errcode"] == errcode


def test_departments_and_all_people(client: RawClient) -> None:
    task = _send(client, userid_list="", dept_id_list="1,99")["task_id"]
    result = client.work("getsendresult", {"agent_id": 1000001, "task_id": task})["send_result"]
    assert (len(result["unread_user_id_list"]), result["invalid_dept_id_list"]) == (60, [99])
    client.control("POST", "people", {"count": 101})
    client.behave(repeat_filter=False)
    task = _send(client, userid_list="", to_all_user="true")["task_id"]
    assert client.work("getsendresult", {"agent_id": 1000001, "task_id": task})["errcode"] == -1, "over 100 receivers"


def test_same_text_reaches_a_person_once_a_day(client: RawClient) -> None:
    tasks = [_send(client)["task_id"], _send(client)["task_id"]]
    client.behave(token_seconds=90_000)
    client.token = client.login()
    client.clock.time += 24 * HOUR
    tasks.append(_send(client)["task_id"])
    receivers = [client.sandbox.state.messages[task].receivers for task in tasks]
    assert receivers == [("user001", "user002"), (), ("user001", "user002")]
    result = client.work("getsendresult", {"agent_id": 1000001, "task_id": tasks[1]})["send_result"]
    assert result["forbidden_user_id_list"] == ["user001", "user002"]
    assert {entry["code"] for entry in result["forbidden_list"]} == {"143106"}


def test_task_ids_do_not_come_back_after_a_reset() -> None:
    """A recall log in Airflow knows the messages before, and leaves out those that were recalled."""
    with running_sandbox(default_state()) as sandbox, httpx.Client(base_url=sandbox.url, trust_env=False) as http:
        client, ids = RawClient(sandbox, Clock(), http), []
        for _ in range(3):
            ids += client.create_messages("work_notification", 3)
            client.control("POST", "reset", {})
    assert len(set(ids)) == len(ids)
