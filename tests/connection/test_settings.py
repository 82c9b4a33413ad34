"""Settings from Airflow's connections, and the errors of invalid ones."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from airflow.configuration import get_airflow_home
from airflow.sdk import Connection
from rich.pretty import pretty_repr

from airflow_provider_dingtalk.client.auth import InternalApp, ThirdPartyApp
from airflow_provider_dingtalk.client.endpoints import GetCorpAccessToken
from airflow_provider_dingtalk.client.hosts import Hosts
from airflow_provider_dingtalk.client.proxy import environment_proxy
from airflow_provider_dingtalk.connection.settings import Settings, settings_of
from airflow_provider_dingtalk.exceptions import ConfigurationError
from airflow_provider_dingtalk.hooks import BaseHook, DingTalkHook
from airflow_provider_dingtalk.version_compat import conf
from tests.support.airflow_seams import everything_said

ENV = "AIRFLOW_CONN_DINGTALK_DEFAULT"
HOME = os.environ["AIRFLOW_HOME"]
SECRET = "s3cret/+=Sentinel"
TICKET = "t1cket-Sentinel"
GOOD = {"conn_type": "dingtalk", "login": "ding-app", "password": SECRET}
THIRD = {"app_type": "third_party", "corp_id": "dingcorp", "suite_ticket_secret": TICKET}
HERE = "tests.connection.test_settings"


def settings(monkeypatch: pytest.MonkeyPatch, value: str | dict[str, Any]) -> Settings:
    """A connection from the environment, as a URI or as the fields of its JSON, by way of Airflow."""
    monkeypatch.setenv(ENV, value if isinstance(value, str) else json.dumps({**GOOD, **value}))
    return settings_of(BaseHook.get_connection("dingtalk_default"))


def refused(value: str | dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> ConfigurationError:
    """The error of a connection that cannot work, by way of the hook."""
    monkeypatch.setenv(ENV, value if isinstance(value, str) else json.dumps({**GOOD, **value}))
    with pytest.raises(ConfigurationError) as raised:
        DingTalkHook().settings()
    return raised.value


# ── good ones ────────────────────────────────────────────────────────────────────────────────────────


def test_a_bare_connection_has_the_documented_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch, {})
    assert found.app == InternalApp(client_id="ding-app", client_secret=SECRET)
    assert (found.region, found.calls_per_second) == ("international", 20)
    assert (found.robot_code, found.agent_id, found.ca_file) == (None, None, None)


@pytest.mark.parametrize(
    ("option", "folder"),
    [
        (None, Path(HOME) / "dingtalk" / "pace"),
        ("", Path(HOME) / "dingtalk" / "pace"),
        ("none", None),
        (" None ", None),
        ("/var/pace", Path("/var/pace")),
        ("~/pace", Path.home() / "pace"),
        ("$AIRFLOW_HOME/pace", Path(HOME) / "pace"),
    ],
)
def test_the_pace_is_shared_where_airflow_cfg_says(
    monkeypatch: pytest.MonkeyPatch, option: str | None, folder: Path | None
) -> None:
    if option is not None:
        monkeypatch.setenv("AIRFLOW__DINGTALK__PACE_DIR", option)
    # A connection must not set it, because it could create folders anywhere.
    assert settings(monkeypatch, {"extra": {"pace_dir": "/elsewhere"}}).pace_dir == folder


@pytest.mark.parametrize("home", ["~nobody-of-that-name/airflow", "~nobody-of-that-name"])
def test_a_user_without_a_home_is_no_error(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", home)
    # As Airflow itself reads it.
    assert settings(monkeypatch, {}).pace_dir == Path(get_airflow_home()) / "dingtalk" / "pace"


@pytest.mark.parametrize("option", ["~nobody-of-that-name/pace", "a\0b", "a\tb"])
def test_a_pace_dir_that_cannot_be_is_told_by_its_option(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    if not conf.has_section("dingtalk"):
        conf.add_section("dingtalk")
    conf.set("dingtalk", "pace_dir", option)  # as in airflow.cfg, which may hold what no variable can
    try:
        error = refused({}, monkeypatch)
    finally:
        conf.remove_option("dingtalk", "pace_dir")
    assert "Invalid option pace_dir in airflow.cfg" in str(error)
    assert error.permanent


@pytest.mark.parametrize(("region", "domain"), [("international", "io"), ("cn", "com"), ("", "io"), (" cn ", "com")])
def test_a_region_names_both_hosts(monkeypatch: pytest.MonkeyPatch, region: str, domain: str) -> None:
    found = settings(monkeypatch, {"extra": {"region": region}})
    assert found.hosts == Hosts(f"https://api.dingtalk.{domain}", f"https://oapi.dingtalk.{domain}")


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "http://127.0.0.1:8848"}, "http://127.0.0.1:8848"),
        ({"host": "http://127.0.0.1:8848/"}, "http://127.0.0.1:8848"),
        ({"host": "https://localhost:8848"}, "https://localhost:8848"),
        ({"host": "127.0.0.1", "port": 8848}, "http://127.0.0.1:8848"),
        ({"host": "127.0.0.1:8848"}, "http://127.0.0.1:8848"),
        ({"host": "127.0.0.1", "port": 8848, "schema": "https"}, "https://127.0.0.1:8848"),
        ({"host": "http://127.0.0.1", "port": 8848}, "http://127.0.0.1:8848"),
        ({"host": "http://127.0.0.1:8848", "port": 8848}, "http://127.0.0.1:8848"),
        ({"host": "[::1]", "port": 8848}, "http://[::1]:8848"),
        ({"host": "::1", "port": 8848}, "http://[::1]:8848"),
        ({"host": "localhost"}, "http://localhost"),
    ],
)
def test_a_sandbox_is_named_in_the_usual_ways(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], url: str
) -> None:
    assert settings(monkeypatch, fields).hosts == Hosts(url, url)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (
            "dingtalk://ding-app:s3cret%2F%2B%3DSentinel@127.0.0.1:8848/?robot_code=r1&agent_id=7&calls_per_second=5",
            ("http://127.0.0.1:8848", "r1", "7", 5),
        ),
        (
            "dingtalk://ding-app:s3cret%2F%2B%3DSentinel@http%3A%2F%2F127.0.0.1%3A8848/?robot_code=r1",
            ("http://127.0.0.1:8848", "r1", None, 20),
        ),
        (
            "dingtalk://http://ding-app:s3cret%2F%2B%3DSentinel@127.0.0.1:8848/",
            ("http://127.0.0.1:8848", None, None, 20),
        ),
        (
            "dingtalk://ding-app:s3cret%2F%2B%3DSentinel@[::1]:8848/",
            ("http://[::1]:8848", None, None, 20),
        ),
        (
            "dingtalk://ding-app:s3cret%2F%2B%3DSentinel@127.0.0.1:8848/https",
            ("https://127.0.0.1:8848", None, None, 20),
        ),
        (
            "dingtalk://ding-app:s3cret%2F%2B%3DSentinel@/?region=cn&calls_per_second=0",
            ("https://api.dingtalk.com", None, None, 0),
        ),
        (
            "dingtalk://ding-app:s3cret%2F%2B%3DSentinel@?__extra__=%7B%22agent_id%22%3A+12%7D",
            ("https://api.dingtalk.io", None, "12", 20),
        ),
    ],
)
def test_a_uri_says_the_same_as_json(
    monkeypatch: pytest.MonkeyPatch, uri: str, expected: tuple[str, str | None, str | None, float]
) -> None:
    found = settings(monkeypatch, uri)
    assert found.app == InternalApp(client_id="ding-app", client_secret=SECRET)
    assert (found.hosts.api, found.robot_code, found.agent_id, found.calls_per_second) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"host": "http://127.0.0.1:8848", "extra": {"robot_code": "r/+=", "calls_per_second": 2.5}},
        {"host": "127.0.0.1", "port": 8848, "extra": {"region": "cn", "agent_id": 5}},
        {"extra": {"ca_file": __file__, "calls_per_second": 0}},
        {"extra": {"proxy": "http://user:p%40ss@proxy:3128"}},
    ],
)
def test_a_connection_survives_the_uri_that_airflow_makes_of_it(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    as_json = settings(monkeypatch, fields)
    uri = BaseHook.get_connection("dingtalk_default").get_uri()
    as_uri = settings(monkeypatch, uri)
    for name in set(Settings.__struct_fields__) - {"fingerprint"}:
        assert getattr(as_uri, name) == getattr(as_json, name), name


@pytest.mark.parametrize(
    ("given", "number"), [(5, 5.0), ("5", 5.0), (0, 0.0), (0.5, 0.5), (10_000, 10_000.0), ("", 20.0), (None, 20.0)]
)
def test_calls_per_second_may_be_text_and_0_is_no_limit(
    monkeypatch: pytest.MonkeyPatch, given: Any, number: float
) -> None:
    assert settings(monkeypatch, {"extra": {"calls_per_second": given}}).calls_per_second == number


def test_blank_extras_are_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch, {"extra": {"robot_code": " ", "agent_id": "", "region": "  ", "ca_file": ""}})
    assert (found.robot_code, found.agent_id, found.region, found.ca_file) == (None, None, "international", None)


def test_only_connections_that_say_the_same_share_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"login": "other"},
        {"password": "other"},
        {"host": "http://127.0.0.1:1"},
        {"extra": {"region": "cn"}},
        {"extra": {"calls_per_second": 1}},
        {"extra": {"robot_code": "r"}},
        {"extra": {"proxy": "proxy:1"}},
    ]
    fingerprints = [settings(monkeypatch, change).fingerprint for change in changes]
    assert len(set(fingerprints)) == len(changes)
    assert settings(monkeypatch, {}).fingerprint == fingerprints[0]


def test_settings_show_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch, {"extra": THIRD})
    assert SECRET not in f"{found} {found!r} {found.app!r}"
    assert TICKET not in f"{found} {found!r} {found.app!r}"


# ── what only the installation may allow ─────────────────────────────────────────────────────────────


def test_a_foreign_host_needs_to_be_allowed_and_https(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = {"host": "https://dingtalk.gateway.example.com"}
    assert "host: 'dingtalk.gateway.example.com' is not allowed" in str(refused(gateway, monkeypatch))
    monkeypatch.setenv("AIRFLOW__DINGTALK__ALLOWED_HOSTS", " other.example.com, dingtalk.gateway.example.com ,")
    assert settings(monkeypatch, gateway).hosts.api == "https://dingtalk.gateway.example.com"
    for close in (
        "http://dingtalk.gateway.example.com",
        "https://evil-dingtalk.gateway.example.com",
        "https://gateway.example.com",
        "https://dingtalk.gateway.example.com.evil.com",
    ):
        assert "host:" in str(refused({"host": close}, monkeypatch))


def ticket_for_tests() -> str:
    """Function that an installation may configure to get its ticket."""
    return TICKET


def broken_ticket() -> str:
    """Ticket function that fails with a secret in its text."""
    raise KeyError(TICKET)


def no_ticket() -> None:
    """Ticket function that returns nothing."""


def third(ticket: str) -> dict[str, Any]:
    return {"extra": {**THIRD, "suite_ticket_secret": ticket}}


def ticket_of(found: Settings) -> str:
    """Return the ticket that a token request would use."""
    assert isinstance(found.app, ThirdPartyApp)
    request = asyncio.run(found.app.token_request())
    assert isinstance(request, GetCorpAccessToken)
    assert (request.suite_key, request.suite_secret, request.auth_corp_id) == ("ding-app", SECRET, "dingcorp")
    return request.suite_ticket


def test_a_suite_ticket_may_be_literal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ticket_of(settings(monkeypatch, third(TICKET))) == TICKET


def test_a_suite_ticket_by_its_old_name_works_and_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old = {"app_type": "third_party", "corp_id": "dingcorp", "suite_ticket": TICKET}
    assert ticket_of(settings(monkeypatch, {"extra": old})) == TICKET
    assert "Rename the connection's extra 'suite_ticket' to 'suite_ticket_secret'" in caplog.text
    assert TICKET not in caplog.text
    caplog.clear()
    assert ticket_of(settings(monkeypatch, {"extra": {**old, "suite_ticket_secret": "newer"}})) == "newer"
    settings(monkeypatch, {"extra": {**old, "suite_ticket": "variable:my_ticket"}})
    settings(monkeypatch, third(TICKET))
    assert caplog.text.count("Rename") == 1


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
        ("api.dingtalk.io:443", False),
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
    ],
)
def test_no_proxy_excepts_networks_and_loopback_needs_no_exception(
    monkeypatch: pytest.MonkeyPatch, base_url: str, is_direct: bool
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "10.1.0.0/16,fd00::/8")
    assert (environment_proxy(base_url) is None) == is_direct


def test_https_proxy_goes_before_all_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    found = environment_proxy("https://api.dingtalk.io")
    assert found and found.url == "http://proxy.example:3128"


def test_a_suite_ticket_from_a_variable_is_looked_up_at_each_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch, third("variable:my_ticket"))
    for ticket in ("first", "second"):
        monkeypatch.setenv("AIRFLOW_VAR_MY_TICKET", ticket)
        assert ticket_of(found) == ticket


def test_a_suite_ticket_from_a_callable_needs_to_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{HERE}.ticket_for_tests"
    error = refused(third(f"callable:{path}"), monkeypatch)
    assert path in str(error)
    assert "suite_ticket_callables" in error.next_step
    monkeypatch.setenv("AIRFLOW__DINGTALK__SUITE_TICKET_CALLABLES", f"os.getcwd, {path}")
    assert ticket_of(settings(monkeypatch, third(f"callable:{path}"))) == TICKET
    refused(third("callable:os.getlogin"), monkeypatch)


@pytest.mark.parametrize(
    ("source", "permanent"),
    [
        ("variable:never_set", True),
        (f"callable:{HERE}.no_ticket", True),
        (f"callable:{HERE}.broken_ticket", False),
        (f"callable:{HERE}.not_there", False),
        ("callable:no.such.module", False),
        ("callable:nodots", False),
    ],
)
def test_a_suite_ticket_that_cannot_be_had_is_told_by_its_source(
    monkeypatch: pytest.MonkeyPatch, source: str, permanent: bool
) -> None:
    monkeypatch.setenv("AIRFLOW__DINGTALK__SUITE_TICKET_CALLABLES", source.removeprefix("callable:"))
    found = settings(monkeypatch, third(source))
    with pytest.raises(ConfigurationError, match="extra suite_ticket_secret") as raised:
        ticket_of(found)
    assert source.partition(":")[2] in str(raised.value)
    assert raised.value.permanent is permanent
    assert_quiet(raised.value)


# ── bad ones ─────────────────────────────────────────────────────────────────────────────────────────

BAD: list[tuple[str | dict[str, Any], str]] = [
    ({"login": ""}, "login"),
    ({"login": None}, "login"),
    ({"login": "  "}, "login"),
    ({"password": ""}, "password"),
    ({"password": None}, "password"),
    ({"password": " \n "}, "password"),
    ({"extra": "no json"}, "extra"),
    ({"extra": "[1]"}, "extra"),
    ({"extra": [1]}, "extra"),
    ({"extra": "5"}, "extra"),
    ({"extra": '"text"'}, "extra"),
    ({"extra": '{"region": "cn",}'}, "extra"),
    ({"extra": {"region": "eu"}}, "region"),
    ({"extra": {"region": "CN"}}, "region"),
    ({"extra": {"region": ["cn"]}}, "region"),
    ({"extra": {"region": True}}, "region"),
    ({"extra": {"app_type": "isv"}}, "app_type"),
    ({"extra": {"app_type": {}}}, "app_type"),
    ({"extra": {**THIRD, "corp_id": ""}}, "corp_id"),
    ({"extra": {**THIRD, "corp_id": None}}, "corp_id"),
    ({"extra": {**THIRD, "corp_id": 1.5}}, "corp_id"),
    ({"extra": {**THIRD, "suite_ticket_secret": ""}}, "suite_ticket_secret"),
    ({"extra": {**THIRD, "suite_ticket_secret": {"ticket": TICKET}}}, "suite_ticket_secret"),
    ({"extra": {**THIRD, "suite_ticket_secret": "callable:os.getcwd"}}, "suite_ticket_secret"),
    ({"extra": {"calls_per_second": "many"}}, "calls_per_second"),
    ({"extra": {"calls_per_second": -1}}, "calls_per_second"),
    ({"extra": {"calls_per_second": True}}, "calls_per_second"),
    ({"extra": {"calls_per_second": 10_001}}, "calls_per_second"),
    ({"extra": {"calls_per_second": 10**400}}, "calls_per_second"),
    ({"extra": {"calls_per_second": "nan"}}, "calls_per_second"),
    ({"extra": {"calls_per_second": "inf"}}, "calls_per_second"),
    ({"extra": {"calls_per_second": [20]}}, "calls_per_second"),
    ({"extra": {"calls_per_second": {}}}, "calls_per_second"),
    ({"extra": {"robot_code": ["r"]}}, "robot_code"),
    ({"extra": {"robot_code": False}}, "robot_code"),
    ({"extra": {"agent_id": 1.5}}, "agent_id"),
    ({"extra": {"ca_file": "/no/such/file.pem"}}, "ca_file"),
    ({"extra": {"ca_file": "/"}}, "ca_file"),
    ({"extra": {"ca_file": "x" * 5000}}, "ca_file"),
    ({"extra": {"ca_file": "a\0b"}}, "ca_file"),
    ({"host": "api.dingtalk.com"}, "host"),
    ({"host": "http://api.dingtalk.com"}, "host"),
    ({"host": "http://oapi.dingtalk.io"}, "host"),
    ({"host": "https://example.com"}, "host"),
    ({"host": "https://api.dingtalk.com.example.com"}, "host"),
    ({"host": "http://localhost.example.com"}, "host"),
    ({"host": "http://10.0.0.1:8848"}, "host"),
    ({"host": "http://169.254.169.254"}, "host"),
    ({"host": "0.0.0.0"}, "host"),
    ({"host": f"http://user:{SECRET}@127.0.0.1"}, "host"),
    ({"host": "http://user@127.0.0.1"}, "host"),
    ({"host": "https://127.0.0.1@example.com"}, "host"),
    ({"host": "http://127.0.0.1/v1.0"}, "host"),
    ({"host": f"http://127.0.0.1?secret={SECRET}"}, "host"),
    ({"host": "http://127.0.0.1#top"}, "host"),
    ({"host": "ftp://127.0.0.1"}, "host"),
    ({"host": "file:///etc/passwd"}, "host"),
    ({"host": "127.0.0.1", "schema": "gopher"}, "host"),
    ({"host": "127.0.0.1", "port": 70_000}, "host"),
    ({"host": "http://127.0.0.1:1", "port": 2}, "host"),
    ({"host": "http://[::1"}, "host"),
    ({"host": "http://"}, "host"),
    ({"host": "   "}, "host"),
    ({"port": "eighty"}, "dingtalk_conn_id"),
    ({"login": ["a"], "password": {"p": SECRET}}, "dingtalk_conn_id"),
    ({"extra": "[" * 5000 + "]" * 5000}, "dingtalk_conn_id"),
    (f"dingtalk://ding-app:{SECRET}@host:port/", "dingtalk_conn_id"),
]


def assert_quiet(error: BaseException) -> None:
    """No secret in anything that the error can show."""
    said = everything_said(error)
    for secret in (SECRET, TICKET, "s3cret%2F%2B%3DSentinel"):
        assert secret not in said


@pytest.mark.parametrize(("value", "field"), BAD, ids=lambda value: str(value)[:60])
def test_a_connection_that_cannot_work_is_refused_by_the_name_of_the_field(
    monkeypatch: pytest.MonkeyPatch, value: str | dict[str, Any], field: str
) -> None:
    error = refused(value, monkeypatch)
    starts = (f"{field}:", f"extra {field}:", f"Invalid {field}", f"Invalid extra {field} ")
    assert str(error).startswith(starts), str(error)
    assert error.permanent
    assert_quiet(error)


@pytest.mark.parametrize("extra", ["[" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000, b"\xff", 5, [1]])
def test_extras_that_only_code_can_make_are_refused_too(extra: Any) -> None:
    odd = Connection(conn_id="c", conn_type="dingtalk", login="a", password=SECRET, extra=extra)
    with pytest.raises(ConfigurationError, match=r"^Invalid extra: not a JSON object") as raised:
        settings_of(odd)
    assert_quiet(raised.value)


def test_a_missing_connection_is_told_by_its_id() -> None:
    with pytest.raises(ConfigurationError, match="dingtalk_conn_id: cannot read the connection 'nowhere'") as raised:
        DingTalkHook("nowhere").settings()
    assert raised.value.permanent


class HookWithoutAirflow(DingTalkHook):
    """A hook whose look-ups fail as they do while Airflow's API server is down."""

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        raise ConnectionError(f"dingtalk://ding-app:{SECRET}@/")


def test_a_lookup_that_failed_may_be_tried_again_and_keeps_the_secret() -> None:
    with pytest.raises(ConfigurationError, match="cannot read the connection") as raised:
        HookWithoutAirflow().settings()
    assert not raised.value.permanent
    assert_quiet(raised.value)
