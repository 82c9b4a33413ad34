"""Connections whose settings are read or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_dingtalk.connection.settings import Settings, read_settings
from airflow_provider_dingtalk.exceptions import ConfigurationError
from airflow_provider_dingtalk.hooks import BaseHook, DingTalkHook
from tests.support.airflow_seams import everything_said

ENV = "AIRFLOW_CONN_DINGTALK_DEFAULT"


SECRET = "s3cret/+=Sentinel"
TICKET = "t1cket-Sentinel"
GOOD = {"conn_type": "dingtalk", "login": "ding-app", "password": SECRET}
THIRD = {"app_type": "third_party", "corp_id": "dingcorp", "suite_ticket_secret": TICKET}


def settings_of(connection: Any) -> Settings:
    """Return the settings of a connection, or raise the error of reading them."""
    read = read_settings(connection)
    if isinstance(read, ConfigurationError):
        raise read
    return read


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


def assert_quiet(error: BaseException) -> None:
    """No secret in anything that the error can show."""
    said = everything_said(error)
    for secret in (SECRET, TICKET, "s3cret%2F%2B%3DSentinel"):
        assert secret not in said
