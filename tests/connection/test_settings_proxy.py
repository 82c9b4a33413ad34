"""Proxies of a connection, and exceptions from them."""

from __future__ import annotations

import base64

import pytest
from rich.pretty import pretty_repr

from airflow_provider_dingtalk.client.proxy import environment_proxy
from tests.support.airflow_seams import everything_said
from tests.support.settings import refused, settings

# ── proxies ──────────────────────────────────────────────────────────────────────────────────────────

PROXY_WORD = "pr0xy-Sentinel"
VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY", "http_proxy")


@pytest.fixture(autouse=True)
def _no_proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("text", "url", "login"),
    [
        ("proxy.example:3128", "http://proxy.example:3128", None),
        ("127.0.0.1:7890", "http://127.0.0.1:7890", None),
        (" http://proxy.example:3128/ ", "http://proxy.example:3128", None),
        ("proxy", "http://proxy:80", None),
        ("https://proxy.example", "https://proxy.example:443", None),
        ("[::1]:3128", "http://[::1]:3128", None),
        (f"user:{PROXY_WORD}@proxy.example:3128", "http://proxy.example:3128", f"user:{PROXY_WORD}"),
        (f"http://user%40corp:{PROXY_WORD}%2F%40@proxy:1", "http://proxy:1", f"user@corp:{PROXY_WORD}/@"),
        ("http://user@proxy:1", "http://proxy:1", "user:"),
    ],
)
def test_a_proxy_is_read_as_curl_and_requests_read_it(
    monkeypatch: pytest.MonkeyPatch, text: str, url: str, login: str | None
) -> None:
    found = settings(monkeypatch, {"extra": {"proxy": text}}).proxy
    assert found is not None
    header = f"Basic {base64.b64encode(login.encode()).decode()}" if login else ""
    assert (found.url, found.authorization) == (url, header)
    for name in ("https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        with monkeypatch.context() as here:
            here.setenv(name, text)
            assert environment_proxy("https://api.dingtalk.io") == found
            assert settings(monkeypatch, {}).proxy is None
    assert PROXY_WORD not in f"{found} {found!r} {pretty_repr(found)}"


@pytest.mark.parametrize(
    "text",
    [
        f"socks5://user:{PROXY_WORD}@proxy.example:1080",
        f"socks5h://{PROXY_WORD}:1",
        f"http://user:{PROXY_WORD}@proxy.example:99999",
        f"user:{PROXY_WORD}@proxy.example:port",
        f"http://user:{PROXY_WORD}#x@proxy.example:1",
        f"http://user:{PROXY_WORD}/x@proxy.example:1",
        f"http://{PROXY_WORD} x:1",
        f"http://[{PROXY_WORD}]:1",
        f"http://proxy.example:1/{PROXY_WORD}",
        f"ftp://{PROXY_WORD}:1",
        f"http://:{PROXY_WORD}@:3128",
        f"{PROXY_WORD}\0:1",
        "http://",
        "://",
        "-",
    ],
)
def test_a_proxy_that_cannot_work_is_told_when_the_connection_is_read_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    error = refused({"extra": {"proxy": text}}, monkeypatch)
    assert str(error).startswith("Invalid extra proxy: ")
    assert PROXY_WORD not in everything_said(error)
    if "\0" not in text:
        monkeypatch.setenv("HTTPS_PROXY", text)
        error = refused({}, monkeypatch)
        assert str(error).startswith("Invalid HTTPS_PROXY: ")
        assert PROXY_WORD not in everything_said(error)
        # Not for the sandbox, which has no proxy.
        settings(monkeypatch, {"host": "http://127.0.0.1:8848"})


@pytest.mark.parametrize(
    ("exceptions", "is_direct"),
    [
        ("", False),
        ("*", True),
        ("api.dingtalk.io", True),
        ("dingtalk.io", True),
        (".dingtalk.io", True),
        ("*.dingtalk.io", True),
        ("API.DingTalk.IO", True),
        ("example.com, dingtalk.io", True),
        ("example.com dingtalk.io", True),
        ("api.dingtalk.io:443", True),
        ("*.dingtalk.io:443", True),
        ("api.dingtalk.io:8443", False),
        ("talk.io", False),
        ("api.dingtalk.io.example.com", False),
        (",", False),
        (".", False),
    ],
)
def test_no_proxy_excepts_hosts_and_domains(monkeypatch: pytest.MonkeyPatch, exceptions: str, is_direct: bool) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", exceptions)
    assert (environment_proxy("https://api.dingtalk.io") is None) == is_direct


@pytest.mark.parametrize(
    ("base_url", "is_direct"),
    [
        ("https://10.1.2.3:8443", True),
        ("https://10.2.2.3:8443", False),
        ("https://[fd00::1]", True),
        ("https://127.0.0.1:8848", True),
        ("https://localhost:8848", True),
        ("http://10.2.2.3", True),
        ("https://10.3.2.3:8443", True),
        ("https://10.3.2.3", False),
    ],
)
def test_no_proxy_excepts_networks_and_loopback_needs_no_exception(
    monkeypatch: pytest.MonkeyPatch, base_url: str, is_direct: bool
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "10.1.0.0/16,fd00::/8,10.3.2.3:8443")
    assert (environment_proxy(base_url) is None) == is_direct


def test_https_proxy_goes_before_all_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    found = environment_proxy("https://api.dingtalk.io")
    assert found and found.url == "http://proxy.example:3128"


@pytest.mark.parametrize("blank", ["", " "])
def test_a_blank_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, blank: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", blank)
    assert environment_proxy("https://api.dingtalk.io") is None
    monkeypatch.setenv("ALL_PROXY", "proxy.example:3128")
    found = environment_proxy("https://api.dingtalk.io")
    assert found and found.url == "http://proxy.example:3128"
