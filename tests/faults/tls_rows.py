"""Rows about TLS with a temporary CA, and about proxies and logins of the environment."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airflow_provider_dingtalk.client.hosts import hosts_at, hosts_of_region
from airflow_provider_dingtalk.client.transport import transport_for
from airflow_provider_dingtalk.exceptions import ConnectionFailedError
from airflow_provider_dingtalk.jobs.recall import Recall
from airflow_provider_dingtalk.jobs.report import Outcome
from airflow_provider_dingtalk.sandbox.testing import running_sandbox
from tests.faults.matrix import RowRun
from tests.faults.scheme import ROBOTS
from tests.faults.secret_scanner import leaks_in, windows
from tests.faults.surroundings import environment, listening
from tests.support.fake_servers import QUERY, RECALL, raw_server
from tests.support.local_dingtalk import check_account, codes_of

PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY")
DAY = dt.timedelta(days=1)
LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


#: Python 3.13 and later require that a CA certificate has key usage for signing.
_SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """Certificate authority in a temporary folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._signed(self._name, self._key.public_key(), DAY, None)
        self.file = str(self._write(f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM)))

    def server(self, name: x509.GeneralName = LOOPBACK, ends_in: dt.timedelta = DAY) -> dict[str, str]:
        """Return a server's certificate and key as uvicorn options."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        certificate = self._signed(subject, key.public_key(), ends_in, name)
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "ssl_certfile": str(self._write("server.pem", pem)),
            "ssl_keyfile": str(self._write("server.key", secret)),
        }

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        ends_in: dt.timedelta,
        name: x509.GeneralName | None,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * DAY)
            .not_valid_after(now + ends_in)
            .add_extension(x509.BasicConstraints(ca=name is None, path_length=None), critical=True)
            # Python 3.13 and later require key identifiers in a certificate chain.
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if name is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=False)
        else:
            builder = builder.add_extension(_SIGNS, critical=True)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path


@contextmanager
def authorities() -> Iterator[tuple[Authority, Authority]]:
    """Create two authorities; the client trusts the first."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        yield Authority(Path(one), "trusted"), Authority(Path(other), "stranger")


def no_byte_goes_to_a_false_server(run: RowRun) -> None:
    """Serve certificates of a wrong CA or name, or expired ones; expect an error and no request."""
    with authorities() as (ours, theirs):
        false = {
            "wrong CA": theirs.server,
            "wrong name": lambda: ours.server(x509.DNSName("api.dingtalk.com")),
            "expired": lambda: ours.server(ends_in=-DAY),
        }
        for name, certificate in false.items():
            _recall_from(run, certificate(), ours.file, name, trusted=False)
        _recall_from(run, ours.server(), ours.file, "right", trusted=True)
        # Without ``ca_file`` the system's CAs apply, which know neither authority.
        _recall_from(run, ours.server(), None, "system's own", trusted=False)


def _recall_from(run: RowRun, certificate: dict[str, str], ca_file: str | None, name: str, *, trusted: bool) -> None:
    sandbox = run.sandbox()
    receipts = sandbox.plant_mixture(dict(ROBOTS), max(40, run.keys // 5))
    with running_sandbox(sandbox.state, **certificate) as server:
        way = transport_for(server.url, ca_file)
        client = sandbox.open(transport=way, hosts=hosts_at(server.url))
        report = asyncio.run(Recall(receipts, clock=sandbox.clock).run(client))
    check_account(sandbox, report, receipts)
    run.figures.keys += len(receipts)
    run.sinks.add("reports", report.to_json(), report.table())
    if trusted:
        assert report.counts()["recalled"] == len(receipts), name
        run.done(sandbox)
        return
    assert sandbox.state.journal.seq == 0, f"{name}: {sandbox.state.journal.seq} requests arrived"
    assert set(codes_of(report, Outcome.FAILED).values()) <= {"not_sent", "not_attempted"}, name
    assert len(report.keys(Outcome.FAILED)) == len(receipts), name
    run.figures.fired += 1


def the_environment_adds_no_header(run: RowRun) -> None:
    """Set proxies and ``.netrc``; expect a proxy only for https beyond loopback, and no login."""
    with listening(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n") as proxy, authorities() as (ours, _):
        netrc = Path(ours.file).with_name("netrc")
        netrc.write_text("default login somebody password netrc-password\n")
        variables = dict.fromkeys(PROXIES, proxy.url)
        with environment(**variables, NETRC=str(netrc)):
            heads = asyncio.run(_to_loopback(run))
            asyncio.run(_to_dingtalk(run))
    assert heads and not any(b"authorization" in head.lower() for head in heads), heads
    assert proxy.connections >= 1, "the proxy of the environment was not used for https"
    assert proxy.heard.startswith(b"CONNECT oapi.dingtalk.io:443") or b"CONNECT api.dingtalk.io:443" in proxy.heard
    assert b"authorization" not in proxy.heard.lower()
    assert b"netrc-password" not in proxy.heard
    assert not leaks_in([proxy.heard.decode("latin-1")], windows(run.sinks.secrets), "proxy")
    run.note("loopback goes past the proxy, https through it by CONNECT; no Authorization header anywhere")


async def _to_loopback(run: RowRun) -> list[bytes]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = b'{"sendStatus":"SUCCESS"}'
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    async with raw_server(answer) as (url, heads):
        client = run.sandbox().open(transport=transport_for(url), hosts=hosts_at(url))
        await client.call(QUERY)
        await client.aclose()
    return heads


async def _to_dingtalk(run: RowRun) -> None:
    """Call the real hosts through a proxy on loopback, which forwards nothing."""
    hosts = hosts_of_region("international")
    client = run.sandbox().open(transport=transport_for(hosts.api), hosts=hosts)
    try:
        await client.call(RECALL)
    except ConnectionFailedError as error:
        run.sinks.add_error(error)
    else:
        raise AssertionError("a proxy that refuses let a call through")
    finally:
        await client.aclose()
