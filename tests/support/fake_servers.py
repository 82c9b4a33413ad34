"""Test doubles of the client's interfaces: a transport from a function, a raw server, a time line."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, TypeVar

import httpx

from airflow_provider_dingtalk.client.auth import App, InternalApp
from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.endpoints import (
    Endpoint,
    GetWorkNotificationResult,
    QueryGroupMessage,
    RecallGroupMessages,
    RecallWorkNotification,
    SendGroupMessage,
    SendWorkNotification,
)
from airflow_provider_dingtalk.client.hosts import Hosts, hosts_at, hosts_of_region
from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
from airflow_provider_dingtalk.sandbox.default import AGENT_ID, CLIENT_ID, CLIENT_SECRET, GROUPS, ROBOT_CODE

T = TypeVar("T")

INTERNATIONAL = hosts_of_region("international")
APP = InternalApp(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
TOKEN_API = "oauth2/accessToken"

QUERY = QueryGroupMessage(process_query_key="key1", open_conversation_id=GROUPS[0], robot_code=ROBOT_CODE)
RECALL = RecallGroupMessages(process_query_keys=["key1"], open_conversation_id=GROUPS[0], robot_code=ROBOT_CODE)
SEND = SendGroupMessage(
    msg_key="sampleText", msg_param='{"content":"hello"}', open_conversation_id=GROUPS[0], robot_code=ROBOT_CODE
)
OLD_QUERY = GetWorkNotificationResult(agent_id=AGENT_ID, task_id=1)
OLD_RECALL = RecallWorkNotification(agent_id=AGENT_ID, msg_task_id=1)
OLD_SEND = SendWorkNotification(
    agent_id=AGENT_ID, userid_list="user001", msg={"msgtype": "text", "text": {"content": "hello"}}
)
#: A good answer to each of them.
GOOD: dict[str, dict[str, Any]] = {
    QUERY.name: {"sendStatus": "SUCCESS", "readUserIds": [], "hasMore": False},
    RECALL.name: {"successResult": ["key1"], "failedResult": {}},
    SEND.name: {"processQueryKey": "key1"},
    OLD_QUERY.name: {"errcode": 0, "send_result": {"read_user_id_list": []}},
    OLD_RECALL.name: {"errcode": 0, "errmsg": "ok"},
    OLD_SEND.name: {"errcode": 0, "task_id": 1},
}
READS = (QUERY, OLD_QUERY)
WRITES = (RECALL, SEND, OLD_RECALL, OLD_SEND)
CALLS = READS + WRITES


def api_of(request: httpx.Request) -> str:
    return request.url.path.removeprefix("/v1.0/").removeprefix("/")


class Answering(httpx.AsyncBaseTransport):
    """Transport that answers by a function and records the requests.

    Calls for a token are answered with ``tokens`` in order; the last one is repeated.
    """

    def __init__(
        self,
        answer: Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]],
        tokens: tuple[str, ...] = ("token-1", "token-2", "token-3"),
    ) -> None:
        self._answer = answer
        self._tokens = tokens
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        await asyncio.sleep(0)
        if self._tokens and api_of(request).startswith("oauth2/"):
            token = self._tokens[min(self.seen["token"], len(self._tokens)) - 1]
            return httpx.Response(200, json={"accessToken": token, "expireIn": 7200})
        answer = self._answer(request)
        return answer if isinstance(answer, httpx.Response) else await answer

    @property
    def seen(self) -> Counter[str]:
        """Requests by API; those for a token as ``token``."""
        names = (api_of(request) for request in self.requests)
        return Counter("token" if name.startswith("oauth2/") else name for name in names)

    def tokens_of(self, endpoint: Endpoint[Any]) -> list[str]:
        """The token of each request to an API, in order."""
        return [
            request.headers.get("x-acs-dingtalk-access-token") or request.url.params.get("access_token", "")
            for request in self.requests
            if api_of(request) == endpoint.name
        ]


def good_answer(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=GOOD[api_of(request)])


def answers(*sequence: httpx.Response) -> Callable[[httpx.Request], httpx.Response]:
    """These answers in order, and good ones from then on."""
    left = list(sequence)

    def answer(request: httpx.Request) -> httpx.Response:
        return left.pop(0) if left else good_answer(request)

    return answer


@asynccontextmanager
async def open_client(hosts: Hosts | str = INTERNATIONAL, **options: Any) -> AsyncIterator[DingTalkClient]:
    """A client without a rate limit, closed at the end."""
    app: App = options.pop("app", APP)
    options.setdefault("limiter", RateLimiter(0))
    client = DingTalkClient(app, hosts_at(hosts) if isinstance(hosts, str) else hosts, **options)
    try:
        yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def raw_server(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server on loopback that answers by hand after the head of a request; its URL and the heads it read.

    Calls for a token are answered, so that the call under test comes to ``serve``.
    """
    heads: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            heads.append(head)
            if b"oauth2/" in head:
                body = b'{"accessToken":"token-1","expireIn":7200}'
                writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
            else:
                await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads
    finally:
        server.close()
        for writer in writers:
            writer.close()


class TimeLine:
    """Clock for several sleeping tasks, which wake in the order of their times."""

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), woken))
        await woken

    async def run(self, story: Coroutine[Any, Any, T]) -> T:
        """Let time pass until a story ends."""
        task = asyncio.ensure_future(story)
        while not await _quiet(task):
            at, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                self._now = max(self._now, at)
                woken.set_result(None)
        return task.result()


async def _quiet(task: asyncio.Future[Any]) -> bool:
    """Let all tasks run until they sleep; return True if ``task`` is done."""
    for _ in range(30):
        await asyncio.sleep(0)
    return task.done()
