"""Any request gets a response in DingTalk's form, and never an error of the sandbox itself."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_dingtalk.client.endpoints import ENDPOINTS, Endpoint, Host
from airflow_provider_dingtalk.sandbox.app import create_app
from airflow_provider_dingtalk.sandbox.behaviour import Behaviour
from airflow_provider_dingtalk.sandbox.default import default_state

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
known = st.sampled_from(
    ["dingsandbox", "cidgroup1", "cidprivate1", "sampleText", '{"content": "x"}', "user001", "1000001"]
)
values = st.recursive(
    scalars | known,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=3), v, max_size=2),
    max_leaves=5,
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[type[Endpoint[Any]], dict[str, Any]]:
    """An API and fields for it: its own, by their names, with any values; now and then one more."""
    endpoint = draw(st.sampled_from(ENDPOINTS))
    names = [field.encode_name for field in msgspec.structs.fields(endpoint)]
    fields = {name: draw(values) for name in names if draw(st.integers(0, 9))}
    return endpoint, fields | ({} if draw(st.integers(0, 9)) else {"colour": "blue"})


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(requests(), st.sampled_from(["json", "form"]))
def test_fields(request: tuple[type[Endpoint[Any]], dict[str, Any]], form: str) -> None:
    endpoint, fields = request
    _check(endpoint, {"json": fields} if form == "json" else {"data": {k: str(v) for k, v in fields.items()}})


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(ENDPOINTS), st.binary(max_size=40) | st.just(b"[" * 5000) | st.just(b'{"a":' * 5000))
def test_bytes(endpoint: type[Endpoint[Any]], body: bytes) -> None:
    _check(endpoint, {"content": body})


def _check(endpoint: type[Endpoint[Any]], sent: dict[str, Any]) -> None:
    answer = asyncio.run(_ask(endpoint, sent))
    body = answer.json()
    if endpoint.http.host is Host.OAPI:
        assert answer.status_code == 200 and isinstance(body["errcode"], int)
    else:
        assert answer.status_code == 200 or (
            answer.status_code == 400 and set(body) == {"requestid", "code", "message"}
        )


async def _ask(endpoint: type[Endpoint[Any]], sent: dict[str, Any]) -> httpx.Response:
    state = default_state(seed=1, behaviour=Behaviour(calls_per_second=0))
    transport = httpx.ASGITransport(create_app(state))
    async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as http:
        credentials = {"appKey": "dingsandbox", "appSecret": "sandbox-secret"}
        token = (await http.post("/v1.0/oauth2/accessToken", json=credentials)).json()["accessToken"]
        headers = {"x-acs-dingtalk-access-token": token}
        params = {"access_token": token} if endpoint.http.host is Host.OAPI else None
        return await http.request(endpoint.http.method, endpoint.http.path, headers=headers, params=params, **sent)
