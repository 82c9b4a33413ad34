"""The plugin: what Airflow finds of it, and the files that its app serves."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import httpx
import pytest
from airflow.api_fastapi.core_api.datamodels.plugins import ExternalViewResponse
from starlette.applications import Starlette
from starlette.routing import Mount

from airflow_provider_dingtalk.plugin import plugin
from airflow_provider_dingtalk.plugin.plugin import HEADERS, DingTalkPlugin

STATIC = Path(plugin.__file__).with_name("static")
FILES = sorted(path.name for path in STATIC.iterdir())
(APP,) = DingTalkPlugin.fastapi_apps
PREFIX = APP["url_prefix"]
VIEWS = {view["destination"]: view for view in DingTalkPlugin.external_views}
#: Modules that a process which only loads the plugin needs none of.
HEAVY = ("fastapi", "starlette", "aiohttp", "airflow_provider_dingtalk.client", "airflow_provider_dingtalk.operators")

pytestmark = pytest.mark.anyio


@pytest.fixture
async def http() -> Any:
    """The app where Airflow mounts it, with a base path before it."""
    app = Starlette(routes=[Mount("/base", routes=[Mount(PREFIX, app=APP["app"])])])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://airflow/base/") as client:
        yield client


@pytest.mark.parametrize("name", FILES)
async def test_each_file_is_served_with_strict_headers(http: httpx.AsyncClient, name: str):
    answer = await http.get(f"dingtalk-messages/{name}")
    assert answer.status_code == 200
    assert answer.content == (STATIC / name).read_bytes()
    assert {header: answer.headers[header] for header in HEADERS} == HEADERS


async def test_the_folder_is_the_page(http: httpx.AsyncClient):
    answer = await http.get("dingtalk-messages/")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.content == (STATIC / "index.html").read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "../plugin.py",
        "%2e%2e/plugin.py",
        "..%2fplugin.py",
        "%2e%2e%5cplugin.py",
        "//etc/passwd",
        "page.js/../../plugin.py",
    ],
)
async def test_nothing_outside_the_folder_is_served(http: httpx.AsyncClient, path: str):
    answer = await http.get(httpx.URL("http://airflow").copy_with(raw_path=f"/base{PREFIX}/{path}".encode()))
    assert answer.status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_can_be_changed(http: httpx.AsyncClient, method: str):
    assert (await http.request(method, "dingtalk-messages/page.js")).status_code == 405


def test_the_policy_allows_no_foreign_and_no_inline_script():
    policy = dict(part.strip().split(" ", 1) for part in HEADERS["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert set(policy.values()) == {"'none'", "'self'"}


@pytest.mark.parametrize("name", FILES)
def test_the_files_name_no_other_host_and_put_no_text_in_as_html(name: str):
    text = (STATIC / name).read_text(encoding="utf-8")
    for word in ("http://", "https://", "innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval("):
        assert word not in text


def test_airflow_takes_the_views():
    assert set(VIEWS) == {"nav", "dag_run", "task_instance"}
    for view in VIEWS.values():
        assert ExternalViewResponse.model_validate(view).href == view["href"]
        assert view["href"].startswith(f"{PREFIX[1:]}/")
    assert len({view["url_route"] for view in VIEWS.values()}) == len(VIEWS)


def test_the_entry_point_leads_to_the_plugin():
    found = [
        entry for entry in entry_points(group="airflow.plugins") if entry.value.startswith("airflow_provider_ding")
    ]
    assert [entry.load() for entry in found] == [DingTalkPlugin]


def test_loading_the_plugin_imports_nothing_heavy():
    code = (
        "import sys; from airflow import plugins_manager; before = set(sys.modules); "
        "import airflow_provider_dingtalk.plugin.plugin; "
        f"print([name for name in {HEAVY!r} if name in set(sys.modules) - before])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
