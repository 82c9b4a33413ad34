"""Clients for the comparison; each recalls given keys, 20 per call.

``python -m benchmarks.clients NAME`` runs one client in its own process. It prints "ready" after its imports and
reads one line of JSON (``url``, ``token``, ``keys``, ``ca_file``, ``in_flight``). Then it recalls, and prints one
line of JSON with wall time and CPU time in seconds. Building clients and TLS contexts counts; importing does not.
The other clients are given a token; ours requests its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_dingtalk.sandbox.default import CLIENT_ID, CLIENT_SECRET, ROBOT_CODE
from benchmarks.meters import processor_seconds

KEYS_PER_CALL = 20
PATH = "/v1.0/robot/otoMessages/batchRecall"
TOKEN_HEADER = "x-acs-dingtalk-access-token"
#: Maximum number of bytes read or written at once.
CHUNK = 1 << 16
#: Timeout of a silent socket in seconds.
SOCKET_TIMEOUT = 30.0

Work = Callable[[], Any]


class Task:
    """Input of a client."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.url: str = given["url"]
        self.token: str = given["token"]
        self.ca_file: str | None = given["ca_file"]
        self.in_flight: int = given["in_flight"]
        self.keys: list[str] = given["keys"]

    def batches(self) -> list[list[str]]:
        """Return the keys of each call."""
        return [self.keys[at : at + KEYS_PER_CALL] for at in range(0, len(self.keys), KEYS_PER_CALL)]

    def bodies(self) -> list[dict[str, Any]]:
        """Return the body of each call."""
        return [{"robotCode": ROBOT_CODE, "processQueryKeys": batch} for batch in self.batches()]

    def headers(self) -> dict[str, str]:
        """Return the headers of each call."""
        return {TOKEN_HEADER: self.token}


# ── ours ─────────────────────────────────────────────────────────────────────────────────────────────


def ours(task: Task) -> Work:
    """Recall with our package as an operator does, without a rate limit."""
    from airflow_provider_dingtalk.client.auth import InternalApp
    from airflow_provider_dingtalk.client.client import DingTalkClient
    from airflow_provider_dingtalk.client.hosts import hosts_at
    from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
    from airflow_provider_dingtalk.jobs.recall import Recall
    from airflow_provider_dingtalk.messages.receipt import Kind, Receipt

    async def work() -> None:
        app = InternalApp(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
        client = DingTalkClient(app, hosts_at(task.url), limiter=RateLimiter(0), ca_file=task.ca_file)
        keys = [Receipt(kind=Kind.OTO, robot_code=ROBOT_CODE, process_query_key=key) for key in task.keys]
        await Recall(keys).run(client)
        await client.aclose()

    return lambda: asyncio.run(work())


# ── the official SDK ─────────────────────────────────────────────────────────────────────────────────


def _sdk(task: Task) -> tuple[Callable[[list[str]], Any], Callable[[list[str]], Awaitable[Any]]]:
    from alibabacloud_dingtalk.robot_1_0 import models
    from alibabacloud_dingtalk.robot_1_0.client import Client
    from alibabacloud_tea_openapi.models import Config
    from alibabacloud_tea_util.models import RuntimeOptions

    url = urlsplit(task.url)
    client = Client(Config(protocol=url.scheme, endpoint=url.netloc))
    headers = models.BatchRecallOTOHeaders(x_acs_dingtalk_access_token=task.token)

    def request(batch: list[str]) -> Any:
        return models.BatchRecallOTORequest(robot_code=ROBOT_CODE, process_query_keys=batch)

    def one(batch: list[str]) -> Any:
        return client.batch_recall_otowith_options(request(batch), headers, RuntimeOptions())

    async def one_async(batch: list[str]) -> Any:
        return await client.batch_recall_otowith_options_async(request(batch), headers, RuntimeOptions())

    return one, one_async


def sdk_loop(task: Task) -> Work:
    """Recall with the official SDK, one call after the other."""
    one, _ = _sdk(task)
    return lambda: [one(batch) for batch in task.batches()]


def sdk_threads(task: Task) -> Work:
    """Recall with the official SDK in ``in_flight`` threads."""
    one, _ = _sdk(task)

    def work() -> None:
        with ThreadPoolExecutor(task.in_flight) as pool:
            list(pool.map(one, task.batches()))

    return work


def sdk_gather(task: Task) -> Work:
    """Recall with the official SDK's async methods, all calls at once."""
    _, one = _sdk(task)

    async def work() -> None:
        await asyncio.gather(*(one(batch) for batch in task.batches()))

    return lambda: asyncio.run(work())


def sdk_gather_bounded(task: Task) -> Work:
    """Recall with the official SDK's async methods, ``in_flight`` calls at once."""
    _, one = _sdk(task)

    async def bounded(batch: list[str], gate: asyncio.Semaphore) -> None:
        async with gate:
            await one(batch)

    async def work() -> None:
        gate = asyncio.Semaphore(task.in_flight)
        await asyncio.gather(*(bounded(batch, gate) for batch in task.batches()))

    return lambda: asyncio.run(work())


# ── aiohttp and httpx ────────────────────────────────────────────────────────────────────────────────


async def _side_by_side(task: Task, call: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """Make all calls, ``in_flight`` at once."""
    bodies = iter(task.bodies())

    async def worker() -> None:
        for body in bodies:
            await call(body)

    await asyncio.gather(*(worker() for _ in range(task.in_flight)))


def aiohttp_bare(task: Task) -> Work:
    """Recall with one ``aiohttp.ClientSession``, ``in_flight`` calls at once."""
    import aiohttp

    async def work() -> None:
        connector = aiohttp.TCPConnector(limit=task.in_flight, ssl=_context(task) or True)
        async with aiohttp.ClientSession(task.url, connector=connector, headers=task.headers()) as session:

            async def call(body: dict[str, Any]) -> None:
                async with session.post(PATH, json=body) as answer:
                    answer.raise_for_status()
                    await answer.json()

            await _side_by_side(task, call)

    return lambda: asyncio.run(work())


def httpx_async(task: Task) -> Work:
    """Recall with one ``httpx.AsyncClient``, ``in_flight`` calls at once."""
    import httpx

    async def work() -> None:
        verify: Any = _context(task) or True
        limits = httpx.Limits(max_connections=task.in_flight, max_keepalive_connections=task.in_flight)
        async with httpx.AsyncClient(
            base_url=task.url, verify=verify, limits=limits, headers=task.headers(), timeout=30
        ) as client:

            async def call(body: dict[str, Any]) -> None:
                (await client.post(PATH, json=body)).raise_for_status().json()

            await _side_by_side(task, call)

    return lambda: asyncio.run(work())


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────


def requests_per_call(task: Task) -> Work:
    """Call ``requests.post`` for each batch, as is common in a ``PythonOperator``."""
    import requests

    def work() -> None:
        for body in task.bodies():
            url = task.url + PATH
            verify: Any = task.ca_file or True
            requests.post(url, json=body, headers=task.headers(), verify=verify, timeout=30).raise_for_status()

    return work


def requests_session(task: Task) -> Work:
    """Recall with one ``requests.Session``, one call after the other."""
    import requests

    def work() -> None:
        with requests.Session() as session:
            session.verify = task.ca_file or True
            for body in task.bodies():
                answer = session.post(task.url + PATH, json=body, headers=task.headers(), timeout=30)
                answer.raise_for_status()

    return work


# ── a bare socket, as the upper limit ────────────────────────────────────────────────────────────────


def _requests(task: Task) -> list[bytes]:
    host = urlsplit(task.url).netloc
    head = f"POST {PATH} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n{TOKEN_HEADER}: {task.token}"
    bodies = [json.dumps(body).encode() for body in task.bodies()]
    return [b"%s\r\ncontent-length: %d\r\n\r\n%s" % (head.encode(), len(body), body) for body in bodies]


def _connect(task: Task, context: ssl.SSLContext | None) -> socket.socket:
    url = urlsplit(task.url)
    bare = socket.create_connection((url.hostname, url.port))
    bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(bare, server_hostname=url.hostname) if context else bare


def _context(task: Task) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=task.ca_file) if task.ca_file else None


def _read_answers(sock: socket.socket, number: int) -> None:
    """Read until ``number`` good answers have begun; the last may be incomplete.

    :raises ConnectionError: If the server closes the connection.
    """
    seen = bytearray()
    while seen.count(b"successResult") < number:
        got = sock.recv(CHUNK)
        if not got:
            raise ConnectionError("the server closed the connection")
        seen += got


def _send_and_read(sock: socket.socket, requests: list[bytes]) -> None:
    """Send all requests and read the answers meanwhile.

    One thread does both, because two threads must not use one TLS socket.
    """
    waiting, seen, good = memoryview(b"".join(requests)), bytearray(), 0
    while good < len(requests):
        writers = [sock] if waiting else []
        select.select([sock], writers, [], SOCKET_TIMEOUT)
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            while waiting:
                waiting = waiting[sock.send(waiting[:CHUNK]) :]
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            while got := sock.recv(CHUNK):
                seen += got
            raise ConnectionError("the server closed the connection")
        good = seen.count(b"successResult")


def raw_sequential(task: Task) -> Work:
    """Recall over one keep-alive connection, one call after the other, without parsing."""

    def work() -> None:
        with _connect(task, _context(task)) as sock:
            for request in _requests(task):
                sock.sendall(request)
                _read_answers(sock, 1)

    return work


def raw_parallel(task: Task) -> Work:
    """Recall over ``in_flight`` keep-alive connections, one call after the other on each."""

    def work() -> None:
        context, requests = _context(task), iter(_requests(task))
        lock = threading.Lock()

        def one() -> None:
            with _connect(task, context) as sock:
                while True:
                    with lock:
                        request = next(requests, None)
                    if request is None:
                        return
                    sock.sendall(request)
                    _read_answers(sock, 1)

        with ThreadPoolExecutor(task.in_flight) as pool:
            for done in [pool.submit(one) for _ in range(task.in_flight)]:
                done.result()

    return work


def raw_pipelined(task: Task) -> Work:
    """Send all calls on one connection before the first answer."""

    def work() -> None:
        with _connect(task, _context(task)) as sock:
            sock.setblocking(False)
            _send_and_read(sock, _requests(task))

    return work


CLIENTS: dict[str, Callable[[Task], Work]] = {
    client.__name__: client
    for client in (
        ours,
        aiohttp_bare,
        httpx_async,
        sdk_loop,
        sdk_threads,
        sdk_gather,
        sdk_gather_bounded,
        requests_per_call,
        requests_session,
        raw_sequential,
        raw_parallel,
        raw_pipelined,
    )
}


def main() -> None:
    """Run the client that the command line names."""
    make = CLIENTS[sys.argv[1]]
    # The first, empty task makes the client import its modules before "ready".
    make(Task({"url": "https://127.0.0.1:1", "token": "", "keys": [], "ca_file": None, "in_flight": 1}))
    print("ready", flush=True)
    task = Task(json.loads(sys.stdin.readline()))
    began, used = time.monotonic(), processor_seconds()
    error = ""
    try:
        make(task)()
    except Exception as problem:  # the failure of a client is a result, too
        error = type(problem).__name__
    wall, cpu = time.monotonic() - began, processor_seconds() - used
    print(json.dumps({"wall": wall, "cpu": cpu, "error": error}), flush=True)


if __name__ == "__main__":
    main()
