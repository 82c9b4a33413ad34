"""Settings from Airflow's connections, and the errors of invalid ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from airflow.configuration import get_airflow_home
from rich.pretty import pretty_repr

from airflow_provider_dingtalk.client.auth import InternalApp
from airflow_provider_dingtalk.client.hosts import Hosts
from airflow_provider_dingtalk.connection.settings import Settings
from airflow_provider_dingtalk.hooks import BaseHook
from airflow_provider_dingtalk.version_compat import conf
from tests.support.settings import SECRET, THIRD, TICKET, assert_quiet, refused, settings

HOME = os.environ["AIRFLOW_HOME"]


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


def test_a_redis_shares_the_rate_limit_where_airflow_cfg_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch, {"extra": {"rate_limit_url": "redis://elsewhere"}}).rate_limit_url is None
    monkeypatch.setenv("AIRFLOW__DINGTALK__RATE_LIMIT_URL", f"rediss://me:{quote_plus(SECRET)}@redis.example.com/3")
    found = settings(monkeypatch, {})
    assert found.rate_limit_url is not None and found.rate_limit_url.address == "rediss://redis.example.com:6379"
    assert "s3cret" not in repr(found) + pretty_repr(found)


@pytest.mark.parametrize("url", ["{}@host", "http://:{}@host", "redis://me:{}", "redis://:{}@", "redis://:{}@host:x"])
def test_a_rate_limit_url_that_cannot_be_is_told_by_its_option(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AIRFLOW__DINGTALK__RATE_LIMIT_URL", url.format(quote_plus(SECRET)))
    error = refused({}, monkeypatch)
    assert "Invalid option rate_limit_url in airflow.cfg" in str(error)
    assert error.permanent
    assert_quiet(error)


@pytest.mark.parametrize(("region", "domain"), [("international", "io"), ("cn", "com"), ("", "io"), (" cn ", "com")])
@pytest.mark.parametrize("port", [None, 0])
def test_a_region_names_both_hosts(monkeypatch: pytest.MonkeyPatch, region: str, domain: str, port: int | None) -> None:
    # Port 0 makes Airflow 3.3.2's Test Connection work.
    found = settings(monkeypatch, {"port": port, "extra": {"region": region}})
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
