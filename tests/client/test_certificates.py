"""Trusted certificates, their order, and error texts without a connection."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import certifi
import httpx
import pytest

from airflow_provider_dingtalk.client.certificates import tls_context
from airflow_provider_dingtalk.client.hosts import hosts_at
from airflow_provider_dingtalk.client.retry import RetryPolicy
from airflow_provider_dingtalk.client.transport import transport_for
from airflow_provider_dingtalk.exceptions import ConfigurationError, ConnectionFailedError
from airflow_provider_dingtalk.sandbox.testing import SandboxServer, running_sandbox
from tests.clock import VirtualClock
from tests.faults.surroundings import closed_port, listening
from tests.faults.tls_rows import Authority, authorities
from tests.support.fake_servers import RECALL, open_client

pytestmark = pytest.mark.anyio

NAMES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
ONCE = RetryPolicy(tries=1, request_deadline=2.0)


@pytest.fixture(autouse=True)
def _no_certificates_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Authority, Authority]]:
    """The authority of the server, and another one."""
    with authorities() as pair:
        yield pair


@pytest.fixture(scope="module")
def server(both: tuple[Authority, Authority]) -> Iterator[SandboxServer]:
    with running_sandbox(**both[0].server()) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def folder(both: tuple[Authority, Authority], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of certificates as OpenSSL reads them: by the hash of their names."""
    found = tmp_path_factory.mktemp("certificates")
    hashed = ["openssl", "x509", "-noout", "-subject_hash", "-in", both[0].file]
    name = subprocess.run(hashed, check=True, capture_output=True, text=True).stdout.strip()
    (found / f"{name}.0").write_bytes(Path(both[0].file).read_bytes())
    return found


async def is_trusted(server: SandboxServer, ca_file: str | None = None) -> bool:
    transport = transport_for(server.url, ca_file)
    try:
        response = await transport.handle_async_request(httpx.Request("GET", f"{server.url}/_sandbox/truth"))
        await response.aread()
    except httpx.ConnectError as error:
        return "certificate not accepted" not in str(error)
    else:
        return response.status_code == 200
    finally:
        await transport.aclose()


@pytest.mark.parametrize(
    ("ca_file", "cert_file", "bundle", "trusted"),
    [
        # o: of the server's authority; x: of another one
        ("", "", "", False),
        ("o", "", "", True),
        ("", "o", "", True),
        ("", "", "o", True),
        ("o", "x", "x", True),
        ("x", "o", "o", False),
        ("", "o", "x", True),
        ("", "x", "o", False),
    ],
)
async def test_the_first_that_is_set_decides(
    server: SandboxServer,
    both: tuple[Authority, Authority],
    monkeypatch: pytest.MonkeyPatch,
    ca_file: str,
    cert_file: str,
    bundle: str,
    trusted: bool,
) -> None:
    files = {"": "", "o": both[0].file, "x": both[1].file}
    monkeypatch.setenv("SSL_CERT_FILE", files[cert_file])
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", files[bundle])
    assert await is_trusted(server, files[ca_file] or None) is trusted


@pytest.mark.parametrize("name", ["SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"])
async def test_a_folder_of_certificates_is_taken(
    server: SandboxServer,
    both: tuple[Authority, Authority],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    folder: Path,
) -> None:
    monkeypatch.setenv(name, str(folder))
    assert await is_trusted(server)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize("value", ["/no/such/file", __file__, "/dev/zero", "x" * 5000])
def test_a_variable_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"^{name}: cannot be read"):
        tls_context()
    tls_context(certifi.where())


def test_the_systems_store_is_trusted_and_certifis_where_it_is_empty(tmp_path: Path) -> None:
    """OpenSSL's own places are fixed when it is loaded; so in a process for each, with other places."""
    script = (
        "import ssl, sys; from airflow_provider_dingtalk.client.certificates import tls_context\n"
        "import certifi; where = ssl.get_default_verify_paths()\n"
        "expected = ssl.create_default_context(cafile=certifi.where()).get_ca_certs()\n"
        "own = ssl.create_default_context()\n"
        "has = bool(own.get_ca_certs()) or bool(where.capath and __import__('os').listdir(where.capath))\n"
        "found = tls_context().get_ca_certs()\n"
        "assert found == (own.get_ca_certs() if has else expected), (has, len(found))\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "HOME": str(tmp_path)})


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


def test_contexts_verify(both: tuple[Authority, Authority]) -> None:
    for context in (tls_context(), tls_context(both[0].file)):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
