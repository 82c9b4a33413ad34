"""Secrets stay out of the locals of our frames, which trackers and Airflow's tracebacks for developers show."""

from __future__ import annotations

import asyncio
import io
import json
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from airflow.sdk import Connection
from rich.console import Console
from rich.pretty import pretty_repr
from rich.traceback import Traceback

import airflow_provider_dingtalk
from airflow_provider_dingtalk.client.auth import App, Tokens
from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.endpoints import AccessToken, Endpoint
from airflow_provider_dingtalk.client.hosts import hosts_at
from airflow_provider_dingtalk.client.proxy import environment_proxy, parse_proxy
from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
from airflow_provider_dingtalk.client.transport import transport_for
from airflow_provider_dingtalk.exceptions import ConfigurationError, DingTalkError
from airflow_provider_dingtalk.hooks import DingTalkHook
from tests.client.test_secrets import (
    FAILURES,
    INTERNAL,
    ONCE,
    SECRET,
    SUITE_SECRET,
    THIRD_PARTY,
    TICKET,
    TOKEN,
    forms,
)
from tests.clock import VirtualClock
from tests.faults.surroundings import environment
from tests.support.fake_servers import CALLS, OLD_RECALL, RECALL, Answering, open_client, raw_server

pytestmark = pytest.mark.anyio

OURS = str(Path(airflow_provider_dingtalk.__file__).parent)
PROXY_WORD = "proxy/word+8e1f=&"
SECRETS = (TOKEN, SECRET, SUITE_SECRET, TICKET, PROXY_WORD)
FEW = {name: FAILURES[name] for name in ("no connection", "cut", "message", "throttled", "ban", "text", "page")}


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error and all errors behind it."""
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [other for other in (one.__cause__, one.__context__) if other is not None]
            waiting += one.exceptions if isinstance(one, BaseExceptionGroup) else ()


def shown_by(error: BaseException) -> str:
    """All locals of our frames, as Python and rich show them, and rich's rendering of the whole."""
    texts = []
    for one in chain(error):
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if frame.f_code.co_filename.startswith(OURS):
                texts += [f"{name}={value!r} {pretty_repr(value)}" for name, value in frame.f_locals.items()]
        trace = Traceback.from_exception(
            type(one), one, one.__traceback__, show_locals=True, locals_max_length=None, locals_max_string=None
        )
        console = Console(file=io.StringIO(), width=10_000)
        console.print(trace)
        assert isinstance(console.file, io.StringIO)
        texts.append(console.file.getvalue())
    return "\n".join(texts)


def assert_no_secret(error: BaseException) -> None:
    shown = shown_by(error)
    for secret in SECRETS:
        for form in forms(secret):
            assert form not in shown


async def failure_of(client: DingTalkClient, work: Callable[[DingTalkClient], Any]) -> DingTalkError:
    try:
        await work(client)
    except DingTalkError as error:
        return error
    raise AssertionError("nothing went wrong")


@pytest.mark.parametrize("answer", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("endpoint", CALLS, ids=lambda endpoint: endpoint.name)
async def test_a_call_that_fails(endpoint: Endpoint[Any], answer: Callable[[httpx.Request], httpx.Response]) -> None:
    transport = Answering(answer, tokens=(TOKEN,))
    async with open_client(transport=transport, app=INTERNAL, retry_policy=ONCE, clock=VirtualClock()) as client:
        error = await failure_of(client, lambda one: one.call(endpoint))
    assert OURS in "".join(traceback.format_tb(error.__traceback__)), "frames of ours were looked at"
    assert_no_secret(error)


@pytest.mark.parametrize("app", [INTERNAL, THIRD_PARTY], ids=["internal", "third party"])
@pytest.mark.parametrize("answer", FEW.values(), ids=FEW)
async def test_a_call_for_a_token_that_fails(app: App, answer: Callable[[httpx.Request], httpx.Response]) -> None:
    transport = Answering(answer, tokens=())
    async with open_client(transport=transport, app=app, retry_policy=ONCE, clock=VirtualClock()) as client:
        assert_no_secret(await failure_of(client, lambda one: one.authenticate()))
        assert_no_secret(await failure_of(client, lambda one: one.call(RECALL)))


@pytest.mark.parametrize(
    "body",
    [{"accessToken": TOKEN}, {"accessToken": TOKEN, "expireIn": "x"}, {"accessToken": [TOKEN], "expireIn": 7200}],
)
async def test_an_answer_with_a_token_that_is_none(body: dict[str, Any]) -> None:
    transport = Answering(lambda _: httpx.Response(200, json=body), tokens=())
    async with open_client(transport=transport, app=INTERNAL, retry_policy=ONCE, clock=VirtualClock()) as client:
        assert_no_secret(await failure_of(client, lambda one: one.authenticate()))


async def test_a_mask_that_cannot_be_set() -> None:
    async def request(_: Counter[str]) -> AccessToken:
        return AccessToken(access_token=TOKEN, expire_in=7200)

    async def mask(token: str) -> None:
        raise RuntimeError("the supervisor is gone")

    with pytest.raises(RuntimeError) as caught:
        await Tokens(request, VirtualClock(), mask).get(Counter())
    assert_no_secret(caught.value)


@pytest.mark.parametrize("answer", [b"", b"no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"])
@pytest.mark.parametrize("endpoint", [RECALL, OLD_RECALL], ids=lambda endpoint: endpoint.name)
async def test_a_connection_that_breaks(endpoint: Endpoint[Any], answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with raw_server(serve) as (url, _), open_client(url, app=INTERNAL, retry_policy=ONCE) as client:
        assert_no_secret(await failure_of(client, lambda one: one.call(endpoint)))


@pytest.mark.parametrize("status", [b"407 Proxy Authentication Required", b"502 Bad Gateway", b"nonsense"])
async def test_a_proxy_that_refuses(status: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()

    base = "https://api.dingtalk.io"
    async with raw_server(serve) as (url, heads):
        login = "user:proxy%2Fword%2B8e1f%3D%26@"
        proxy = parse_proxy(url.replace("//", f"//{login}"), "proxy")
        client = DingTalkClient(
            INTERNAL,
            hosts_at(base, frozenset({"api.dingtalk.io"})),
            transport=transport_for(base, None, proxy),
            limiter=RateLimiter(0),
            retry_policy=ONCE,
        )
        error = await failure_of(client, lambda one: one.call(RECALL))
        await client.aclose()
    assert b"Proxy-Authorization: Basic" in heads[0], "the password went to the proxy"
    assert_no_secret(error)


BAD_CONNECTIONS: list[dict[str, Any]] = [
    {"extra": "no JSON " + TICKET},
    {"extra": {"region": "eu"}},
    {"extra": {"proxy": f"socks5://user:{PROXY_WORD}@proxy:1"}},
    {"extra": {"calls_per_second": "many"}},
    {"extra": {"ca_file": "/no/such/file"}},
    {"extra": {"agent_id": "x"}},
    {"host": f"http://user:{SECRET}@127.0.0.1"},
    {"login": ""},
    {"extra": {"app_type": "third_party", "suite_ticket_secret": TICKET}},
    {"extra": {"app_type": "third_party", "corp_id": "c", "suite_ticket_secret": {"ticket": TICKET}}},
]


@pytest.mark.parametrize("fields", BAD_CONNECTIONS, ids=str)
def test_a_connection_that_cannot_work(fields: dict[str, Any]) -> None:
    given = {
        "login": "ding",
        "password": SECRET,
        "conn_type": "dingtalk",
        "extra": {"proxy": PROXY_WORD},
        **fields,
    }
    extra = given["extra"] if isinstance(given["extra"], str) else json.dumps(given["extra"])

    class Hook(DingTalkHook):
        @classmethod
        def get_connection(cls, conn_id: str) -> Any:
            return Connection(conn_id="c", **{**given, "extra": extra})

    with pytest.raises(ConfigurationError) as caught:
        Hook().settings()
    shown = "\n".join(
        f"{name}={value!r} {pretty_repr(value)}"
        for one in chain(caught.value)
        for frame, _ in traceback.walk_tb(one.__traceback__)
        if frame.f_code.co_filename.startswith(OURS)
        for name, value in frame.f_locals.items()
    )
    assert shown
    assert not [secret for secret in SECRETS if secret in shown]


def test_an_environment_whose_proxy_cannot_work() -> None:
    with (
        environment(HTTPS_PROXY=f"socks5://user:{PROXY_WORD}@proxy:1", NO_PROXY="", no_proxy=""),
        pytest.raises(ConfigurationError) as caught,
    ):
        environment_proxy("https://api.dingtalk.io")
    assert_no_secret(caught.value)
