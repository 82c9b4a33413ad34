"""Server of the benchmark: the sandbox in its own process, with network latency.

``python -m benchmarks.server --latency 0.05`` runs it. It validates requests as the sandbox does, so a client
cannot be fast by sending invalid ones. The latency is added to outgoing bytes, so several requests on one
connection wait at the same time, as in a real network. Handshakes are not delayed, which favours clients with a
connection per call.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import functools
import ipaddress
import os
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import certifi
import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airflow_provider_dingtalk.sandbox.behaviour import Behaviour
from airflow_provider_dingtalk.sandbox.connections import TrackedProtocol
from airflow_provider_dingtalk.sandbox.default import CLIENT_ID, CLIENT_SECRET, default_state
from airflow_provider_dingtalk.sandbox.server import listen, make_server
from dev.processes import Process, stop_all

#: Seconds between a request's arrival and its answer, as in the goals.
LATENCY = 0.05
DAY = dt.timedelta(days=1)


class DelayedTransport:
    """Transport that delays outgoing bytes and keeps their order.

    :param transport: The real transport; attributes not defined here are taken from it.
    :param seconds: Delay in seconds.
    """

    def __init__(self, transport: asyncio.Transport, seconds: float) -> None:
        self._transport = transport
        self._later = functools.partial(asyncio.get_running_loop().call_later, seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send bytes after the delay."""
        self._later(self._transport.write, data)

    def writelines(self, parts: list[bytes]) -> None:
        """Send several parts after the delay."""
        self.write(b"".join(parts))

    def close(self) -> None:
        """Close the transport after the delay, when all bytes are sent."""
        self._later(self._transport.close)


def slow_protocol(seconds: float) -> type[asyncio.Protocol]:
    """Return the sandbox's protocol class with a latency in seconds."""

    class SlowProtocol(TrackedProtocol):
        def connection_made(self, transport: Any) -> None:
            wire: Any = DelayedTransport(transport, seconds) if seconds else transport
            super().connection_made(wire)

    return SlowProtocol


class Server:
    """Client of a running server.

    :param url: Base URL of the server.
    :param ca_file: CA bundle for https; None for http. It is certifi's bundle plus the server's own CA, because a
        short bundle would load faster than in production.
    """

    def __init__(self, url: str, ca_file: str | None) -> None:
        self.url = url
        self.ca_file = ca_file
        self.http = httpx.Client(base_url=url, verify=_context(ca_file), trust_env=False, timeout=30)

    def create_messages(self, count: int, kind: str = "oto") -> list[str]:
        """Create sent messages and return their keys."""
        order = {"kind": kind, "count": count}
        return list(self.http.post("/_sandbox/plant", json=order).raise_for_status().json()["keys"])

    def recalled(self) -> int:
        """Return the number of messages that the server has recalled."""
        return sum(kind["recalled"] for kind in self.snapshot()["counts"].values())

    def snapshot(self) -> dict[str, Any]:
        """Return the server's counts of messages and of calls."""
        found: dict[str, Any] = self.http.get("/_sandbox/truth", params={"brief": 1}).json()
        return found

    def reset(self) -> None:
        """Delete all messages, tokens and calls."""
        self.http.post("/_sandbox/reset").raise_for_status()

    def token(self) -> str:
        """Return a new access token of the default app."""
        order = {"appKey": CLIENT_ID, "appSecret": CLIENT_SECRET}
        answer = self.http.post("/v1.0/oauth2/accessToken", json=order).raise_for_status()
        return str(answer.json()["accessToken"])


@contextmanager
def serving(*, latency: float = LATENCY, tls: bool = True, rate: int = 0, window: str = "fixed") -> Iterator[Server]:
    """Run a server in its own process until the block ends.

    :param latency: Network latency of each answer in seconds; default 0.05.
    :param tls: True for https, False for http; default True.
    :param rate: Rate limit of each API in calls per second; default 0, which means no limit.
    :param window: Throttle window of the sandbox, ``fixed`` or ``sliding``; default ``fixed``.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.server", "--latency", str(latency), "--rate", str(rate)]
        command += ["--window", window]
        ca_file = None
        if tls:
            ca_file, certificate, key = _authority(Path(folder))
            command += ["--certificate", certificate, "--key", key]
        process = Process("server", command, os.environ, Path(folder) / "log")
        try:
            yield Server(process.wait_for_output(r"(https?://\S+)"), ca_file)
        finally:
            stop_all([process])


def _context(ca_file: str | None) -> Any:
    return ssl.create_default_context(cafile=ca_file) if ca_file else False


def _authority(folder: Path) -> tuple[str, str, str]:
    """Create a temporary CA and a certificate for loopback.

    :returns: Paths of the CA bundle, the certificate and its key.
    """
    own, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    root = _certificate("authority", own.public_key(), x509.BasicConstraints(ca=True, path_length=None), own)
    leaf = _certificate("server", key.public_key(), address, own)
    pem = serialization.Encoding.PEM
    (folder / "bundle.pem").write_bytes(Path(certifi.where()).read_bytes() + root.public_bytes(pem))
    (folder / "server.pem").write_bytes(leaf.public_bytes(pem))
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.key").write_bytes(secret)
    return str(folder / "bundle.pem"), str(folder / "server.pem"), str(folder / "server.key")


def _certificate(
    name: str,
    key: ec.EllipticCurvePublicKey,
    extension: x509.ExtensionType,
    signed_by: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(
        issuer_name=_named("authority"),
        subject_name=_named(name),
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - DAY,
        not_valid_after=now + DAY,
    )
    return builder.add_extension(extension, critical=False).sign(signed_by, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def main() -> None:
    """Serve until the process is terminated; the first line of output is the URL."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=LATENCY, help="seconds on the wire for each answer")
    parser.add_argument("--rate", type=int, default=0, help="calls per second for each API; 0 for no limit")
    parser.add_argument("--window", default="fixed", choices=["fixed", "sliding"])
    parser.add_argument("--certificate", help="certificate file (PEM): serve https")
    parser.add_argument("--key", help="key file of the certificate (PEM)")
    options = parser.parse_args()
    behaviour = Behaviour().changed({"calls_per_second": options.rate, "throttle_window": options.window})
    sock = listen("127.0.0.1", 0)
    scheme = "https" if options.certificate else "http"
    tls = {"ssl_certfile": options.certificate, "ssl_keyfile": options.key} if options.certificate else {}
    url = f"{scheme}://127.0.0.1:{sock.getsockname()[1]}"
    server = make_server(default_state(behaviour=behaviour), ready=lambda: print(url, flush=True), **tls)
    server.config.http = slow_protocol(options.latency)
    server.run([sock])


if __name__ == "__main__":
    main()
