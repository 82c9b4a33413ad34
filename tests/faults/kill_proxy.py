"""The kill harness behind a CONNECT proxy that misbehaves: TLS and HTTPS_PROXY, as behind a company's firewall."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cryptography import x509

from airflow_provider_dingtalk.api.hosts import Hosts, hosts_at
from tests.faults.connect_proxy import HOST
from tests.faults.seams import environment
from tests.faults.tls_rows import authorities

#: Set while tries go through the proxy.
_BEHIND = "DINGTALK_TESTS_BEHIND_PROXY"


def hosts_behind_proxy(url: str) -> Hosts:
    """Give the hosts that a try calls: the sandbox, or the name that only the proxy knows."""
    if os.environ.get(_BEHIND):
        return hosts_at(f"https://{HOST}", frozenset({HOST}))
    return hosts_at(url)


@contextmanager
def bad_proxy(url: str, seed: int) -> Iterator[None]:
    """Send all tries through a proxy in a process of its own while the block lasts.

    :param url: The sandbox, which the proxy passes everything on to.
    :param seed: Of the proxy's moods.
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
