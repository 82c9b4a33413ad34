"""Connections that are refused by the name of the field."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_provider_dingtalk.exceptions import ConfigurationError
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.version_compat import HAS_PROVIDER_COMMANDS
from tests.support.settings import SECRET, THIRD, TICKET, assert_quiet, refused, settings_of

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


@pytest.mark.parametrize(("value", "field"), BAD, ids=lambda value: str(value)[:60])
def test_a_connection_that_cannot_work_is_refused_by_the_name_of_the_field(
    monkeypatch: pytest.MonkeyPatch, value: str | dict[str, Any], field: str
) -> None:
    error = refused(value, monkeypatch)
    starts = (f"{field}:", f"extra {field}:", f"Invalid {field}", f"Invalid extra {field} ")
    if field == "extra" and not HAS_PROVIDER_COMMANDS:
        # Airflow 3.1 cannot read such a connection, and does not say why.
        starts = ("dingtalk_conn_id: cannot read the connection",)
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
