"""Files of the chats page; tests/browser covers its behaviour in a browser."""

from __future__ import annotations

import re

import pytest

from airflow_provider_dingtalk.sandbox.console import MODULES
from tests.sandbox.raw_client import RawClient


def test_files_that_the_page_names_are_served(client: RawClient) -> None:
    page = client.http.get("/_sandbox/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {"page.css", "main.js", "truth"} < set(named)
    for name in named:
        if not name.startswith("data:"):
            assert client.http.get(f"/_sandbox/{name}").status_code == 200


@pytest.mark.parametrize("path", ["", "page.css", *(f"{name}.js" for name in MODULES)])
def test_policy_allows_its_own_script_only(client: RawClient, path: str) -> None:
    policy = client.http.get(f"/_sandbox/{path}").headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'" in policy
    assert "unsafe" not in policy


def test_modules_put_no_html_into_the_page(client: RawClient) -> None:
    for name in MODULES:
        text = client.http.get(f"/_sandbox/{name}.js").text
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
        assert {f"{other}.js" for other in MODULES} >= set(re.findall(r'from "\./([^"]+)"', text))


def test_both_languages_have_the_same_texts(client: RawClient) -> None:
    english, chinese = client.http.get("/_sandbox/texts.js").text.split("const STORED")[0].split("const ZH")
    names = [set(re.findall(r"(\w+): \"", part)) for part in (english, chinese)]
    assert names[0] == names[1] and len(names[0]) > 40


def test_page_is_no_call_of_dingtalk(client: RawClient) -> None:
    before = client.control("GET", "truth?brief=1")["calls"]
    assert client.http.get("/_sandbox/").status_code == 200
    assert client.control("GET", "truth?brief=1")["calls"] == before


def test_other_files_of_the_package_are_not_served(client: RawClient) -> None:
    for path in ("__init__.py", "page.html", "%2e%2e/control.py"):
        assert client.http.get(f"/_sandbox/{path}").status_code == 404
