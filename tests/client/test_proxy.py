"""Calls through a CONNECT proxy that misbehaves: one bad connection costs one call, and "not sent" is exact."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509

from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.hosts import hosts_at
from airflow_provider_dingtalk.client.proxy import parse_proxy
from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
from airflow_provider_dingtalk.client.retry import RetryPolicy
from airflow_provider_dingtalk.client.transport import transport_for
from airflow_provider_dingtalk.exceptions import ConnectionFailedError, NoResponseError
from airflow_provider_dingtalk.sandbox.default import default_state
from airflow_provider_dingtalk.sandbox.testing import SandboxServer, running_sandbox
from tests.client.sockets import IS_OLD_UVLOOP, UNCLOSED_SOCKET_FILTER
from tests.clock import VirtualClock
from tests.faults.connect_proxy import BEFORE_THE_REQUEST, HOST, ConnectProxy, Mode
from tests.faults.tls_rows import Authority, authorities
from tests.support.fake_servers import APP, SEND

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy(tries=1, request_deadline=1.0)
SILENT = {Mode.SILENT, Mode.TLS_SILENT}


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with authorities() as (trusted, _):
        yield trusted


@pytest.fixture(scope="module")
def _server(authority: Authority) -> Iterator[SandboxServer]:
    with running_sandbox(default_state(seed=5), **authority.server(x509.DNSName(HOST))) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_server: SandboxServer) -> SandboxServer:
    _server.state.reset()
    _server.state.behaviour = _server.state.behaviour.changed({"calls_per_second": 0})
    return _server


@asynccontextmanager
async def calling(
    sandbox: SandboxServer,
    authority: Authority,
    *modes: Mode,
    login: str = "",
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[tuple[DingTalkClient, ConnectProxy]]:
    """A client whose every connection goes through a proxy with these modes."""
    port = int(sandbox.url.rpartition(":")[2])
    base = f"https://{HOST}"
    async with ConnectProxy(port, modes, context).running() as proxy:
        way = transport_for(base, authority.file, parse_proxy(f"http://{login}127.0.0.1:{proxy.port}", "proxy"))
        client = DingTalkClient(
            APP,
            hosts_at(base, frozenset({HOST})),
            transport=way,
            limiter=RateLimiter(0),
            retry_policy=ONCE,
            clock=VirtualClock(),
        )
        try:
            yield client, proxy
        finally:
            await client.aclose()


def sent(sandbox: SandboxServer) -> int:
    """Messages that arrived."""
    return len(sandbox.snapshot()["messages"])


@pytest.mark.parametrize("mode", BEFORE_THE_REQUEST)
async def test_a_bad_tunnel_costs_its_call_only_and_nothing_was_sent(
    sandbox: SandboxServer, authority: Authority, mode: Mode
) -> None:
    async with calling(sandbox, authority, Mode.HONEST, mode, mode) as (client, _):
        await client.authenticate()
        async with asyncio.TaskGroup() as group:  # the correct tunnel serves one of three
            results = [group.create_task(outcome(client)) for _ in range(3)]
        outcomes = [task.result() for task in results]
        assert outcomes.count("not_sent") == 2, outcomes
        assert sent(sandbox) == 1
        for _ in range(5):
            await client.call(SEND)
        assert sent(sandbox) == 6


async def outcome(client: DingTalkClient) -> str:
    try:
        await client.call(SEND)
    except (ConnectionFailedError, NoResponseError) as error:
        return error.code
    return "sent"


async def test_a_tunnel_that_is_cut_with_the_request_is_no_answer(authority: Authority) -> None:
    files = authority.server(x509.DNSName(HOST))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files["ssl_certfile"], files["ssl_keyfile"])
    with running_sandbox(default_state(seed=6)) as plain:
        async with calling(plain, authority, Mode.HONEST, Mode.CUT, context=context) as (client, _):
            await client.authenticate()
            outcomes = await asyncio.gather(outcome(client), outcome(client))
            assert sorted(outcomes) == ["no_answer", "sent"]
            await client.call(SEND)


@pytest.mark.filterwarnings(UNCLOSED_SOCKET_FILTER)
@pytest.mark.parametrize("mode", [Mode.SILENT, Mode.TLS_SILENT, Mode.HONEST])
@pytest.mark.parametrize("turns", [*range(0, 60, 3), 10_000])
async def test_a_cancelled_call_leaves_the_next_ones_alone_and_no_descriptor(
    sandbox: SandboxServer,
    authority: Authority,
    mode: Mode,
    turns: int,
    anyio_backend: tuple[str, dict[str, bool]],
) -> None:
    may_fail = IS_OLD_UVLOOP and anyio_backend[1]["use_uvloop"]
    async with calling(sandbox, authority, mode) as (client, proxy):
        call = asyncio.ensure_future(client.authenticate())
        for _ in range(turns):
            await asyncio.sleep(0)
            if call.done() or (turns > 100 and proxy.arrived.is_set()):
                break
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        proxy.be_honest()
        try:
            await client.call(SEND)
        except ConnectionFailedError:
            assert may_fail and sent(sandbox) == 0
            await client.call(SEND)
        assert sent(sandbox) == 1
    assert not [task for task in asyncio.all_tasks() if "aiohttp" in repr(task)]


async def test_no_descriptor_is_left_after_bad_tunnels(sandbox: SandboxServer, authority: Authority) -> None:
    modes = [mode for mode in BEFORE_THE_REQUEST if mode not in SILENT] * 5
    async with calling(sandbox, authority, *modes) as (client, _):
        before = descriptors()
        for _ in modes:
            with pytest.raises(ConnectionFailedError):
                await client.call(SEND)
        await settled(before)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def settled(before: int) -> None:
    """Wait until no more descriptors are open than that: the other side closes its ends in its own time."""
    async with asyncio.timeout(10):
        while descriptors() > before:  # noqa: ASYNC110 -- the operating system has no event for it
            await asyncio.sleep(0.01)


async def test_credentials_go_to_the_proxy_and_nowhere_else(sandbox: SandboxServer, authority: Authority) -> None:
    async with calling(sandbox, authority, login="user:p%40ss%2Fword@") as (client, proxy):
        await client.call(SEND)
        assert b"Proxy-Authorization: Basic dXNlcjpwQHNzL3dvcmQ=" in proxy.heads[0]
        assert proxy.heads[0].startswith(f"CONNECT {HOST}:443 HTTP/1.1".encode())
        assert len(proxy.heads) == 1
    assert "dXNlcjpwQHNzL3dvcmQ" not in repr(sandbox.state.journal.entries)


async def test_a_false_certificate_behind_a_proxy_is_named_at_each_try(sandbox: SandboxServer) -> None:
    with authorities() as (_, stranger):
        async with calling(sandbox, stranger) as (client, proxy):
            for _ in range(3):
                with pytest.raises(ConnectionFailedError) as caught:
                    await client.call(SEND)
                assert "certificate not accepted" in str(caught.value)
                assert proxy.url.removeprefix("http://") in str(caught.value)
    assert sandbox.state.journal.seq == 0
