"""Hosts and suite tickets that the installation must allow."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from airflow_provider_dingtalk.client.auth import ThirdPartyApp
from airflow_provider_dingtalk.client.endpoints import GetCorpAccessToken
from airflow_provider_dingtalk.connection.settings import Settings
from airflow_provider_dingtalk.exceptions import ConfigurationError
from tests.support.settings import SECRET, THIRD, TICKET, assert_quiet, refused, settings

HERE = __name__


def ticket_for_tests() -> str:
    """Function that an installation may configure to get its ticket."""
    return TICKET


def broken_ticket() -> str:
    """Ticket function that fails with a secret in its text."""
    raise KeyError(TICKET)


def no_ticket() -> None:
    """Ticket function that returns nothing."""


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
