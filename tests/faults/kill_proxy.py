"""Kill harness behind a misbehaving CONNECT proxy, with TLS and HTTPS_PROXY."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cryptography import x509

from airflow_provider_dingtalk.client.hosts import Hosts, hosts_at
from tests.faults.connect_proxy import HOST
from tests.faults.surroundings import environment
from tests.faults.tls_rows import authorities

#: Environment variable that is set while tries use the proxy.
_BEHIND = "DINGTALK_TESTS_BEHIND_PROXY"


def is_behind_proxy() -> bool:
    """Tell if tries use the proxy, which loses connections that the harness does not count."""
    return bool(os.environ.get(_BEHIND))


def hosts_behind_proxy(url: str) -> Hosts:
    """Return the hosts that a try calls: the sandbox, or the name that only the proxy knows."""
    if is_behind_proxy():
        return hosts_at(f"https://{HOST}", frozenset({HOST}))
    return hosts_at(url)


@contextmanager
def bad_proxy(url: str, seed: int) -> Iterator[None]:
    """Send all tries through a proxy in its own process during the block.

    :param url: URL of the sandbox, to which the proxy forwards all requests.
    :param seed: Seed of the proxy's modes.
    """
    with authorities() as (ours, _):
        ours.server(x509.DNSName(HOST))
        command = [sys.executable, "-m", "tests.faults.connect_proxy", "--target", url.rpartition(":")[2]]
        command += ["--folder", str(ours.folder), "--seed", str(seed)]
        proxy = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            address = (proxy.stdout.readline() if proxy.stdout else "").rpartition(" ")[2].strip()
            names = {"HTTPS_PROXY": address, "https_proxy": address, "NO_PROXY": "", "no_proxy": ""}
            with environment(**names, SSL_CERT_FILE=ours.file, **{_BEHIND: "1"}):
                yield
        finally:
            proxy.terminate()
            proxy.wait(10)
            if proxy.stdout:
                proxy.stdout.close()
