"""Uvicorn server and its socket."""

from __future__ import annotations

import socket

import pytest

from airflow_provider_dingtalk.sandbox.connections import TrackedProtocol
from airflow_provider_dingtalk.sandbox.default import default_state
from airflow_provider_dingtalk.sandbox.server import listen, make_server


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_free_port(host: str) -> None:
    with listen(host, 0) as sock:
        assert sock.getsockname()[1] > 0
        assert sock.family == (socket.AF_INET6 if ":" in host else socket.AF_INET)


def test_port_in_use() -> None:
    with listen("127.0.0.1", 0) as sock, pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", sock.getsockname()[1])


def test_faults_can_find_connections() -> None:
    config = make_server(default_state()).config
    assert config.http is TrackedProtocol
    assert not config.proxy_headers


def test_options_reach_uvicorn() -> None:
    assert make_server(default_state(), ssl_certfile="cert.pem").config.ssl_certfile == "cert.pem"
