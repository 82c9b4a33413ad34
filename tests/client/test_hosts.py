"""Hosts to which a token may be sent."""

from __future__ import annotations

import pytest

from airflow_provider_dingtalk.client.endpoints import Host
from airflow_provider_dingtalk.client.hosts import Hosts, hosts_at, hosts_of_region
from airflow_provider_dingtalk.exceptions import ConfigurationError

ALLOWED = frozenset({"dingtalk.corp.example"})


@pytest.mark.parametrize(
    ("region", "hosts"),
    [
        ("international", Hosts("https://api.dingtalk.io", "https://oapi.dingtalk.io")),
        ("cn", Hosts("https://api.dingtalk.com", "https://oapi.dingtalk.com")),
    ],
)
def test_region_is_a_pair_of_hosts(region: str, hosts: Hosts) -> None:
    assert hosts_of_region(region) == hosts
    assert hosts.base_url(Host.API) == hosts.api
    assert hosts.base_url(Host.OAPI) == hosts.oapi


@pytest.mark.parametrize("region", ["", "CN", "com", "international ", "api.dingtalk.com"])
def test_other_regions_are_refused_and_the_right_ones_named(region: str) -> None:
    with pytest.raises(ConfigurationError, match=r"Invalid region .*cn, international") as caught:
        hosts_of_region(region)
    assert caught.value.permanent


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://127.0.0.1:8848", "http://127.0.0.1:8848"),
        ("http://127.0.0.1:8848/", "http://127.0.0.1:8848"),
        ("HTTP://127.0.0.1:8848", "http://127.0.0.1:8848"),
        ("http://127.9.9.9:1", "http://127.9.9.9:1"),
        ("http://localhost:8848", "http://localhost:8848"),
        ("http://LOCALHOST:8848", "http://localhost:8848"),
        ("https://localhost", "https://localhost"),
        ("http://[::1]:8848", "http://[::1]:8848"),
        ("https://[::1]", "https://[::1]"),
        ("https://dingtalk.corp.example", "https://dingtalk.corp.example"),
        ("https://dingtalk.corp.example:8443", "https://dingtalk.corp.example:8443"),
    ],
)
def test_loopback_and_allowed_hosts_serve_both_hosts(url: str, base: str) -> None:
    assert hosts_at(url, ALLOWED) == Hosts(base, base)


@pytest.mark.parametrize(
    "url",
    [
        # user and password
        "http://user@127.0.0.1:8848",
        "http://user:pass@127.0.0.1:8848",
        "http://127.0.0.1:pass@evil.example",
        "http://localhost@evil.example",
        # more than scheme, host and port
        "http://127.0.0.1:8848/v1.0",
        "http://127.0.0.1:8848?x=1",
        "http://127.0.0.1:8848#x",
        # no URL
        "",
        "127.0.0.1:8848",
        "localhost",
        "//127.0.0.1",
        "http://",
        "http://127.0.0.1:port",
        "http://127.0.0.1:99999",
        "http://[::1",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        # foreign hosts, and those that only look like loopback
        "https://evil.example",
        "https://api.dingtalk.com",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://127.0.0.1\n.evil.example",
        "http://0.0.0.0:8848",
        "http://[::]:8848",
        "http://169.254.169.254",
        "http://10.0.0.1",
        "http://2130706433",
        "https://sub.dingtalk.corp.example",
        "https://dingtalk.corp.example.evil.example",
        # an allowed host, but not in the open
        "http://dingtalk.corp.example",
    ],
)
def test_everything_else_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^host: ") as caught:
        hosts_at(url, ALLOWED)
    assert caught.value.permanent
    assert "pass" not in str(caught.value).replace("password", "")


def test_nothing_is_allowed_by_default() -> None:
    with pytest.raises(ConfigurationError, match="allowed_hosts"):
        hosts_at("https://dingtalk.corp.example")
