"""Airflow, the sandbox and a headless Chromium, for all that is done in a browser here."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_dingtalk.sandbox.testing import running_sandbox
from dev.airflow_stack import AirflowStack
from tests.browser.on_call import OnCall
from tests.real_airflow.fixtures import TIMEOUT, DingTalk, Environment

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "example_dags"
DAGS = ("dingtalk_incident_rollback", "dingtalk_rollback_on_failure")
#: Folder for screenshots; without it they go where pytest keeps its temporary files.
ARTEFACTS = "BROWSER_ARTEFACTS"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
#: Nothing but what a test asks for, and no attempt to reach the world outside.
FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--no-proxy-server"]
FAILED = pytest.StashKey[bool]()
Shoot = Callable[["Page", str], object]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the screenshots."""
    folder = Path(os.environ.get(ARTEFACTS) or tmp_path_factory.mktemp("browser"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def sandbox() -> Iterator[DingTalk]:
    """A running sandbox."""
    with running_sandbox() as server:
        yield DingTalk(server)


@pytest.fixture
def dingtalk(sandbox: DingTalk) -> DingTalk:
    """The sandbox, in which nothing happened yet."""
    sandbox.empty()
    return sandbox


@pytest.fixture(scope="session")
def stack(sandbox: DingTalk) -> Iterator[AirflowStack]:
    """A running Airflow with the example DAGs."""
    env = {
        "AIRFLOW_CONN_DINGTALK_DEFAULT": json.dumps(sandbox.server.connection()),
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
    }
    with AirflowStack(EXAMPLES, env) as running:
        for dag_id in DAGS:
            running.wait_for_dag(dag_id)
        yield running


@pytest.fixture
def environment(stack: AirflowStack, dingtalk: DingTalk) -> Environment:
    """Airflow, and a DingTalk in which nothing happened yet."""
    return Environment(stack, dingtalk)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    from playwright.sync_api import expect, sync_playwright

    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    assert found, "There is no Chromium: `make test-browser` installs Debian's."
    # Chromium refuses to run its own sandbox as root.
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    expect.set_options(timeout=TIMEOUT * 1000)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest, artefacts: Path) -> Iterator[Page]:
    """A fresh window; what it shows when a test fails is kept."""
    context = browser.new_context(locale="en-GB", timezone_id="UTC", viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(TIMEOUT * 1000)
    opened = context.new_page()
    yield opened
    if request.node.stash.get(FAILED, True):
        for number, one in enumerate(context.pages):
            name = re.sub(r"\W+", "_", request.node.name)
            one.screenshot(path=artefacts / f"failed_{name}_{number}.png", full_page=True)
            (artefacts / f"failed_{name}_{number}.html").write_text(one.content())
    context.close()


@pytest.fixture
def shoot(artefacts: Path, request: pytest.FixtureRequest) -> Shoot:
    """Takes screenshots of a page, named after the test and what is to be seen."""
    name = request.node.name.removeprefix("test_")
    return lambda page, what: page.screenshot(path=artefacts / f"{name}_{what}.png")


@pytest.fixture
def on_call(page: Page, environment: Environment) -> OnCall:
    """On-call engineer at that browser."""
    return OnCall(page, environment.stack.url)


@pytest.fixture
def chats(page: Page, dingtalk: DingTalk) -> Page:
    """The sandbox's own page, in a second window."""
    opened = page.context.new_page()
    opened.goto(f"{dingtalk.server.url}/_sandbox/")
    return opened
