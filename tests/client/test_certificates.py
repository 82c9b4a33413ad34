"""Trusted certificates and their order."""

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
from airflow_provider_dingtalk.client.transport import transport_for
from airflow_provider_dingtalk.exceptions import ConfigurationError
from airflow_provider_dingtalk.sandbox.testing import SandboxServer, running_sandbox
from tests.faults.tls_rows import Authority, authorities

pytestmark = pytest.mark.anyio

NAMES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


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


def test_contexts_verify(both: tuple[Authority, Authority]) -> None:
    for context in (tls_context(), tls_context(both[0].file)):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
