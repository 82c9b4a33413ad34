"""Clients side by side, each as somebody would write it: recall the keys on standard input, 20 a call.

``python -m benchmarks.clients NAME`` is one of them in a process of its own. It says "ready" when its imports
are done, reads one line of JSON (``url``, ``token``, ``keys``, ``ca_file``, ``in_flight``), recalls, and says in
one line of JSON how long that took, in seconds of the clock and of the processor. Building clients and TLS
contexts counts; importing does not. Peers are handed a token; ours gets one by itself.
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
#: Bytes read or written at once.
CHUNK = 1 << 16
#: Seconds after which a socket that says nothing is given up.
PATIENCE = 30.0

Work = Callable[[], Any]


class Task:
    """What a client is given."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.url: str = given["url"]
        self.token: str = given["token"]
        self.ca_file: str | None = given["ca_file"]
        self.in_flight: int = given["in_flight"]
        self.keys: list[str] = given["keys"]

    def batches(self) -> list[list[str]]:
        """The keys of each call."""
        return [self.keys[at : at + KEYS_PER_CALL] for at in range(0, len(self.keys), KEYS_PER_CALL)]

    def bodies(self) -> list[dict[str, Any]]:
        """The body of each call."""
        return [{"robotCode": ROBOT_CODE, "processQueryKeys": batch} for batch in self.batches()]

    def headers(self) -> dict[str, str]:
        """The headers of each call."""
        return {TOKEN_HEADER: self.token}


# ── ours ─────────────────────────────────────────────────────────────────────────────────────────────


def ours(task: Task) -> Work:
    """Our package as an operator uses it: a recall over a client, with no limit of calls per second."""
    from airflow_provider_dingtalk.api.auth import InternalApp
    from airflow_provider_dingtalk.api.client import DingTalkClient
    from airflow_provider_dingtalk.api.hosts import hosts_at
    from airflow_provider_dingtalk.api.limits import Limiter
    from airflow_provider_dingtalk.messaging.recall import Recall
    from airflow_provider_dingtalk.messaging.receipts import Kind, Receipt

    async def work() -> None:
        app = InternalApp(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
        client = DingTalkClient(app, hosts_at(task.url), limiter=Limiter(0), ca_file=task.ca_file)
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
    """The official SDK, one call after the other."""
    one, _ = _sdk(task)
    return lambda: [one(batch) for batch in task.batches()]


def sdk_threads(task: Task) -> Work:
    """The official SDK in threads: as many calls in flight as ours."""
    one, _ = _sdk(task)

    def work() -> None:
        with ThreadPoolExecutor(task.in_flight) as pool:
            list(pool.map(one, task.batches()))

    return work


def sdk_gather(task: Task) -> Work:
    """The official SDK's async methods, all at once."""
    _, one = _sdk(task)

    async def work() -> None:
        await asyncio.gather(*(one(batch) for batch in task.batches()))

    return lambda: asyncio.run(work())


def sdk_gather_bounded(task: Task) -> Work:
    """The official SDK's async methods: as many calls in flight as ours."""
    _, one = _sdk(task)

    async def bounded(batch: list[str], gate: asyncio.Semaphore) -> None:
        async with gate:
            await one(batch)

    async def work() -> None:
        gate = asyncio.Semaphore(task.in_flight)
        await asyncio.gather(*(bounded(batch, gate) for batch in task.batches()))

    return lambda: asyncio.run(work())


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────


def requests_per_call(task: Task) -> Work:
    """``requests.post`` for each call: the habit of a ``PythonOperator``."""
    import requests

    def work() -> None:
        for body in task.bodies():
            url = task.url + PATH
            verify: Any = task.ca_file or True
            requests.post(url, json=body, headers=task.headers(), verify=verify, timeout=30).raise_for_status()

    return work


def requests_session(task: Task) -> Work:
    """One ``requests.Session``, one call after the other."""
    import requests

    def work() -> None:
        with requests.Session() as session:
            session.verify = task.ca_file or True
            for body in task.bodies():
                answer = session.post(task.url + PATH, json=body, headers=task.headers(), timeout=30)
                answer.raise_for_status()

    return work


# ── a bare socket: the limit ─────────────────────────────────────────────────────────────────────────


def _requests(task: Task) -> list[bytes]:
    host = urlsplit(task.url).netloc
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n{TOKEN_HEADER}: {task.token}"
    )
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
    """Read until so many answers began, and see that all are good. The last may still be on its way."""
    seen = bytearray()
    while seen.count(b"successResult") < number:
        got = sock.recv(CHUNK)
        if not got:
            raise ConnectionError("the server closed the connection")
        seen += got


def _send_and_read(sock: socket.socket, requests: list[bytes]) -> None:
    """Send all there is and read what comes meanwhile, by one thread: a TLS socket bears no two."""
    waiting, seen, good = memoryview(b"".join(requests)), bytearray(), 0
    while good < len(requests):
        writers = [sock] if waiting else []
        select.select([sock], writers, [], PATIENCE)
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            while waiting:
                waiting = waiting[sock.send(waiting[:CHUNK]) :]
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            while got := sock.recv(CHUNK):
                seen += got
            raise ConnectionError("the server closed the connection")
        good = seen.count(b"successResult")


def raw_sequential(task: Task) -> Work:
    """One keep-alive connection, one call after the other, nothing parsed."""

    def work() -> None:
        with _connect(task, _context(task)) as sock:
            for request in _requests(task):
                sock.sendall(request)
                _read_answers(sock, 1)

    return work


def raw_parallel(task: Task) -> Work:
    """As many keep-alive connections as ours has calls in flight, one call after the other on each."""

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
    """All calls on one connection before the first answer: as fast as bytes can go."""

    def work() -> None:
        with _connect(task, _context(task)) as sock:
            sock.setblocking(False)
            _send_and_read(sock, _requests(task))

    return work


CLIENTS: dict[str, Callable[[Task], Work]] = {
    client.__name__: client
    for client in (
        ours,
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
    """Be one of the clients."""
    make = CLIENTS[sys.argv[1]]
    # Imports happen here and in a first, empty making.
    make(Task({"url": "https://127.0.0.1:1", "token": "", "keys": [], "ca_file": None, "in_flight": 1}))
    print("ready", flush=True)
    task = Task(json.loads(sys.stdin.readline()))
    began, used = time.monotonic(), processor_seconds()
    error = ""
    try:
        make(task)()
    except Exception as problem:  # a peer that fails is a result, too
        error = type(problem).__name__
    wall, cpu = time.monotonic() - began, processor_seconds() - used
    print(json.dumps({"wall": wall, "cpu": cpu, "error": error}), flush=True)


if __name__ == "__main__":
    main()
