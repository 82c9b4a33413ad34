"""Causes of failed connections: refused, unknown, without TLS, false certificate."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_dingtalk.client.hosts import hosts_at
from airflow_provider_dingtalk.client.retry import RetryPolicy
from airflow_provider_dingtalk.exceptions import ConnectionFailedError
from airflow_provider_dingtalk.sandbox.testing import SandboxServer, running_sandbox
from tests.clock import VirtualClock
from tests.faults.surroundings import closed_port, listening
from tests.faults.tls_rows import Authority, authorities
from tests.support.fake_servers import RECALL, open_client

pytestmark = pytest.mark.anyio
ONCE = RetryPolicy(tries=1, request_deadline=2.0)


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Authority, Authority]]:
    """The authority of the server, and another one."""
    with authorities() as pair:
        yield pair


@pytest.fixture(scope="module")
def server(both: tuple[Authority, Authority]) -> Iterator[SandboxServer]:
    with running_sandbox(**both[0].server()) as sandbox:
        yield sandbox


async def told(url: str, **options: object) -> ConnectionFailedError:
    """Return the error of a call without a connection."""
    async with open_client(
        hosts_at(url, frozenset({"no-such-name.invalid"})), retry_policy=ONCE, clock=VirtualClock(), **options
    ) as client:
        with pytest.raises(ConnectionFailedError) as caught:
            await client.call(RECALL)
    assert caught.value.code == "not_sent"
    assert caught.value.next_step and caught.value.next_step_zh
    return caught.value


async def test_a_port_where_nobody_listens_asks_for_the_sandbox() -> None:
    port = closed_port()
    error = await told(f"http://127.0.0.1:{port}")
    assert f"no connection to 127.0.0.1:{port} (refused)" in str(error)
    assert "Is the sandbox running?" in error.next_step
    assert "沙箱" in error.next_step_zh


async def test_a_name_that_dns_does_not_know_is_told_from_a_refusal() -> None:
    error = await told("https://no-such-name.invalid")
    assert "no connection to no-such-name.invalid:443 (its name is unknown to DNS)" in str(error)
    assert "无法连接 no-such-name.invalid:443（DNS 中没有该主机名）。" in error.message_zh
    assert "DNS" in error.next_step
    assert "DNS" in error.next_step_zh


async def test_a_false_certificate_is_told_with_what_is_wrong(
    server: SandboxServer, both: tuple[Authority, Authority]
) -> None:
    error = await told(server.url, ca_file=both[1].file)
    assert server.url.removeprefix("https://") in str(error)
    assert "certificate not accepted: unable to get local issuer certificate" in str(error)
    assert "ca_file" in error.next_step
    assert "ca_file" in error.next_step_zh


async def test_a_port_without_tls_is_told_from_a_false_certificate() -> None:
    with listening(b"HTTP/1.1 400 Bad Request\r\n\r\n") as plain:
        error = await told(plain.url.replace("http:", "https:"))
    assert "(TLS failed: WRONG_VERSION_NUMBER)" in str(error)
    assert "TLS" in error.next_step
