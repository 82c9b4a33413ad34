"""DingTalk's own samples: they fit the endpoints' structs, and the sandbox answers them in their shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from airflow_provider_dingtalk.client.endpoints import ENDPOINTS, Host, name_of
from tests.sandbox.raw_client import RawClient

SAMPLES = {path.stem: path for path in sorted((Path(__file__).parents[1] / "samples").glob("*.json"))}
APIS = {name_of(endpoint): endpoint for endpoint in ENDPOINTS}
RECALLS = {
    "robot/groupMessages/recall": "group",
    "robot/otoMessages/batchRecall": "oto",
    "robot/privateChatMessages/batchRecall": "private_chat",
}
QUERIES = {
    "robot/groupMessages/query": "group",
    "robot/privateChatMessages/query": "private_chat",
    "robot/oToMessages/readStatus": "oto",
}
#: Names of the sandbox's state in place of the samples'.
NAMES: dict[str, Any] = {
    "robotCode": "dingsandbox",
    "coolAppCode": "COOLAPP-1",
    "userIds": ["user001", "nobody", "user002"],
    "receiverUserIdList": ["user001"],
    "appKey": "dingsandbox",
    "appSecret": "sandbox-secret",
    "suiteKey": "suitesandbox",
    "suiteSecret": "suite-secret",
    "authCorpId": "dingcorp",
    "suiteTicket": "sandbox-ticket",
    "agent_id": "1000001",
    "userid_list": "user001",
    "dept_id_list": "1",
}
#: DingTalk's sample has a backslash before each quote of this field.
MSG = '{"msgtype": "text", "text": {"content": "hello"}}'


def _load(name: str) -> dict[str, Any]:
    return dict(json.loads(SAMPLES[name].read_text(encoding="utf-8")))


def test_there_is_a_sample_of_every_api() -> None:
    assert {_load(name)["api"] for name in SAMPLES} == set(APIS)


@pytest.mark.parametrize("name", SAMPLES)
def test_fits_the_structs(name: str) -> None:
    sample = _load(name)
    endpoint, request = APIS[sample["api"]], sample["request"]
    http = endpoint.http
    assert (http.method, http.path) == (request["method"], request["path"])
    assert (http.host is Host.OAPI) == request["host"].startswith("oapi.")
    assert http.doc.rsplit("/", 1)[1] == sample["source_url"].rsplit("/", 1)[1]
    fields = dict(request.get("body") or request.get("form") or request["query"])
    fields.pop("access_token", None)
    if "msg" in fields:
        fields["msg"] = json.loads(fields["msg"].replace("\\", ""))
    msgspec.convert(fields, endpoint, strict=http.host is Host.API)
    msgspec.convert(sample["response"], endpoint.result)


@pytest.mark.parametrize("name", SAMPLES)
def test_answered_in_its_shape(client: RawClient, name: str) -> None:
    sample = _load(name)
    client.control("POST", "people", {"flow_controlled": ["user002"]})
    answer = _replay(client, sample)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    _same_shape(sample["response"], answer.json(), name)
    msgspec.json.decode(answer.content, type=APIS[sample["api"]].result)


def _replay(client: RawClient, sample: dict[str, Any]) -> httpx.Response:
    request = sample["request"]
    headers = dict(request["headers"])
    if "x-acs-dingtalk-access-token" in headers:
        headers["x-acs-dingtalk-access-token"] = client.token
    parts = {
        place: _adapt(client, sample["api"], request[place]) for place in ("body", "form", "query") if place in request
    }
    return client.http.request(
        request["method"],
        request["path"],
        headers=headers,
        json=parts.get("body"),
        data=parts.get("form"),
        params=parts.get("query"),
    )


def _adapt(client: RawClient, api: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a sample with the names of the sandbox's state."""
    adapted = {name: NAMES.get(name, value) for name, value in fields.items()}
    if "openConversationId" in fields:
        adapted["openConversationId"] = "cidprivate1" if "private" in api else "cidgroup1"
    if api in RECALLS:
        adapted["processQueryKeys"] = client.create_messages(RECALLS[api])
        if api == "robot/privateChatMessages/batchRecall":
            adapted["processQueryKeys"] += client.create_messages("private_chat")
            client.faults({"action": {"type": "fail_keys", "keys": adapted["processQueryKeys"][1:]}})
    if api in QUERIES:
        _make_readable(client, api, adapted)
    if "openDingId" in fields:
        adapted["openDingId"] = client.create_messages("ding")[0]
    for name in {"task_id", "msg_task_id"} & set(fields):
        adapted[name] = client.create_messages("work_notification", user_ids=["user001"], readers=1)[0]
    if "access_token" in fields:
        adapted["access_token"] = client.token
    if "msg" in fields:
        adapted["msg"] = MSG
    return adapted


def _make_readable(client: RawClient, api: str, adapted: dict[str, Any]) -> None:
    """A message with enough readers for the page that the sample asks for, and the cursor of that page."""
    kind = QUERIES[api]
    [key] = client.create_messages(kind, readers=1 if kind == "oto" else 120)
    adapted["processQueryKey"] = key
    if "nextToken" in adapted:
        adapted["nextToken"] = client.query(kind, key, maxResults=50).json()["nextToken"]


def _same_shape(sample: Any, answer: Any, where: str) -> None:
    """Every field of the sample is in the answer, with a value of the same type."""
    assert type(sample) is type(answer), where
    if isinstance(sample, dict):
        if where.endswith((".failedResult", ".failedList")):
            assert len(sample) == len(answer), where
            _same_shape(list(sample.values()), list(answer.values()), f"{where}.values")
            return
        assert set(sample) <= set(answer), where
        for name, value in sample.items():
            _same_shape(value, answer[name], f"{where}.{name}")
    if isinstance(sample, list) and sample:
        assert answer, where
        _same_shape(sample[0], answer[0], f"{where}[0]")
