"""Client of a sandbox in raw JSON and forms; no struct or client of the package builds the requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from airflow_provider_dingtalk.sandbox.testing import SandboxServer

GROUP, PRIVATE, ROBOT = "cidgroup1", "cidprivate1", "dingsandbox"
HOUR = 3600
RECALL = {
    "group": "/v1.0/robot/groupMessages/recall",
    "oto": "/v1.0/robot/otoMessages/batchRecall",
    "private_chat": "/v1.0/robot/privateChatMessages/batchRecall",
}
QUERY = {"group": "/v1.0/robot/groupMessages/query", "private_chat": "/v1.0/robot/privateChatMessages/query"}
OTO_STATUS = "/v1.0/robot/oToMessages/readStatus"
SEND = {
    "group": "/v1.0/robot/groupMessages/send",
    "oto": "/v1.0/robot/oToMessages/batchSend",
    "private_chat": "/v1.0/robot/privateChatMessages/send",
}
WORK = "/topapi/message/corpconversation/"
HERE = {"group": {"openConversationId": GROUP}, "private_chat": {"openConversationId": PRIVATE}, "oto": {}}


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    time: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.time


@dataclass
class RawClient:
    """A client with a token. A field set to ``None`` is left out of the request."""

    sandbox: SandboxServer
    clock: Clock
    http: httpx.Client
    token: str = ""

    def login(self, client_id: str = ROBOT, secret: str = "sandbox-secret") -> str:
        answer = self.http.post("/v1.0/oauth2/accessToken", json={"appKey": client_id, "appSecret": secret})
        return str(answer.json()["accessToken"])

    def post(self, path: str, body: dict[str, Any], token: str | None = None) -> httpx.Response:
        given = {name: value for name, value in body.items() if value is not None}
        headers = {"x-acs-dingtalk-access-token": token or self.token}
        return self.http.post(path, json=given, headers=headers)

    def send(self, kind: str, **changes: Any) -> httpx.Response:
        body: dict[str, Any] = {
            "robotCode": ROBOT,
            "msgKey": "sampleText",
            "msgParam": '{"content": "hello"}',
            **HERE[kind],
        }
        if kind == "private_chat":
            body["coolAppCode"] = "COOLAPP-1"
        if kind == "oto":
            body["userIds"] = ["user001", "user002"]
        return self.post(SEND[kind], {**body, **changes})

    def recall(self, kind: str, keys: list[str] | None, **changes: Any) -> httpx.Response:
        return self.post(RECALL[kind], {"robotCode": ROBOT, "processQueryKeys": keys, **HERE[kind], **changes})

    def query(self, kind: str, key: str | None, **changes: Any) -> httpx.Response:
        return self.post(QUERY[kind], {"robotCode": ROBOT, "processQueryKey": key, **HERE[kind], **changes})

    def oto_status(self, key: str | None, **changes: Any) -> httpx.Response:
        params = {"robotCode": ROBOT, "processQueryKey": key, **changes}
        given = {name: value for name, value in params.items() if value is not None}
        return self.http.get(OTO_STATUS, params=given, headers={"x-acs-dingtalk-access-token": self.token})

    def work(self, api: str, form: dict[str, Any], token: str | None = None) -> dict[str, Any]:
        query = {"access_token": self.token if token is None else token}
        answer = self.http.post(WORK + api, params=query, data=form)
        assert answer.status_code == 200
        return dict(answer.json())

    def control(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.http.request(method, f"/_sandbox/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def create_messages(self, kind: str, count: int = 1, **more: Any) -> list[Any]:
        return list(self.control("POST", "plant", {"kind": kind, "count": count, **more})["keys"])

    def faults(self, *rules: dict[str, Any]) -> None:
        self.control("PUT", "faults", list(rules))

    def behave(self, **switches: Any) -> None:
        self.control("PUT", "behaviour", switches)

    def recalled(self, key: Any) -> bool:
        return self.sandbox.state.messages[key].recalled_at is not None


def rule(**fields: Any) -> dict[str, Any]:
    """Return a fault rule; an action may be given by its type alone."""
    given = fields.pop("action")
    return {"action": {"type": given} if isinstance(given, str) else given, **fields}


def action_of(type_: str, **fields: Any) -> dict[str, Any]:
    return {"type": type_, **fields}


def refused(answer: httpx.Response, code: str, status: int = 400) -> bool:
    """Tell if the new host refused with this code, in DingTalk's envelope."""
    body = answer.json()
    assert set(body) == {"requestid", "code", "message"}, body
    assert (body["code"], answer.status_code) == (code, status)
    return True
