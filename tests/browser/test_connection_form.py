"""Airflow's form of a connection of type ``dingtalk``: create, edit, press *Test Connection*."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from airflow_provider_dingtalk.sandbox.default import CLIENT_ID, CLIENT_SECRET, ROBOT_CODE
from tests.browser.on_call import OnCall
from tests.real_airflow.fixtures import Environment

if TYPE_CHECKING:
    from playwright.sync_api import Locator

    from tests.browser.conftest import Shoot

CONN_ID = "dingtalk_by_form"
WRONG = "wrong-secret-of-the-form"


class Connections:
    """Administrator at Airflow's page of connections."""

    def __init__(self, on_call: OnCall, environment: Environment) -> None:
        self.page, self._on_call, self._api = on_call.page, on_call, environment.stack.api
        self.page.goto(f"{environment.stack.url}/connections")
        self.row = self.page.get_by_role("row").filter(has_text=CONN_ID)

    def create(self, **fields: str) -> Locator:
        """Open the form of a new connection to the default app and fill it in."""
        form = self._open(self.page.get_by_role("button", name="Add Connection"))
        form.locator("[name=connection_id]").fill(CONN_ID)
        form.get_by_role("combobox").click()
        form.get_by_role("option", name="DingTalk", exact=True).click()
        self.fill(form, login=CLIENT_ID, password=CLIENT_SECRET, **fields)
        form.get_by_role("button", name="Extra Fields", exact=True).click()
        self._on_call.choose(form, "region", "cn")
        self._on_call.fill(form, "robot_code", ROBOT_CODE)
        return form

    def edit(self, **fields: str) -> Locator:
        """Open the form of the connection and change fields by their names."""
        form = self._open(self.row.get_by_role("button", name="Edit Connection"))
        self.fill(form, **fields)
        return form

    def fill(self, form: Locator, **fields: str) -> None:
        """Fill in standard fields by their names."""
        for name, value in fields.items():
            form.locator(f"[name={name}]").fill(value)

    def save(self, form: Locator) -> dict[str, Any]:
        """Save, and return what Airflow stores."""
        form.get_by_role("button", name="Save").click()
        expect(form).to_have_count(0)
        expect(self.row).to_be_visible()
        found: dict[str, Any] = self._api.get(f"/connections/{CONN_ID}")
        return found

    def test(self, *told: str) -> None:
        """Press *Test Connection*, and wait for what Airflow says."""
        self.row.get_by_role("button", name="Test Connection").click()
        for text in told:
            expect(self.page.get_by_role("status").filter(has_text=text)).to_be_visible()

    def _open(self, button: Locator) -> Locator:
        button.click()
        return self.page.locator("[role=dialog][data-state=open]")


@pytest.fixture
def connections(on_call: OnCall, environment: Environment) -> Connections:
    """The page, without a connection of the test before."""
    for stored in environment.airflow.get("/connections")["connections"]:
        environment.airflow.delete(f"/connections/{stored['connection_id']}")
    return Connections(on_call, environment)


def test_created_tested_edited_and_tested_again(connections: Connections, environment: Environment, shoot: Shoot):
    host = environment.dingtalk.server.url
    form = connections.create(host=host, port="0")
    shoot(connections.page, "1_form")
    stored = connections.save(form)
    assert (stored["host"], stored["port"], stored["login"]) == (host, 0, CLIENT_ID)
    extra = json.loads(stored["extra"])
    assert (extra["region"], extra["robot_code"]) == ("cn", ROBOT_CODE)
    connections.test("Test Connection Successful", f"Got an access token ({host})")
    shoot(connections.page, "2_right")

    form = connections.edit(password=WRONG)
    assert connections.save(form) == stored
    connections.test("Test Connection Failed", "DingTalk refuses the app (invalidClientIdOrSecret)")
    shoot(connections.page, "3_wrong")

    # Host, port and extras are kept while the secret is put right.
    assert connections.save(connections.edit(password=CLIENT_SECRET)) == stored
    connections.page.reload()
    connections.test("Got an access token")
    assert environment.dingtalk.messages() == {}


def test_airflow_does_not_test_a_connection_without_a_port(connections: Connections, environment: Environment):
    """Airflow's fault: its page sends port 0, its server compares that with none. Port 0 in the form helps."""
    form = connections.create(host=environment.dingtalk.server.url)
    assert connections.save(form)["port"] is None
    connections.test("Bad Request")
    assert environment.dingtalk.calls() == {}
    assert connections.save(connections.edit(port="0"))["port"] == 0
    connections.test("Got an access token")
