"""Files of the chats page; tests/browser covers its behaviour in a browser."""

from __future__ import annotations

import re

import pytest

from tests.sandbox.raw_client import RawClient


def test_files_that_the_page_names_are_served(client: RawClient) -> None:
    page = client.http.get("/_sandbox/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {"page.css", "page.js", "truth"} < set(named)
    for name in named:
        if not name.startswith("data:"):
            assert client.http.get(f"/_sandbox/{name}").status_code == 200


@pytest.mark.parametrize("path", ["", "page.css", "page.js"])
def test_policy_allows_its_own_script_only(client: RawClient, path: str) -> None:
    policy = client.http.get(f"/_sandbox/{path}").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


def test_page_is_no_call_of_dingtalk(client: RawClient) -> None:
    before = client.control("GET", "truth?brief=1")["calls"]
    assert client.http.get("/_sandbox/").status_code == 200
    assert client.control("GET", "truth?brief=1")["calls"] == before


def test_other_files_of_the_package_are_not_served(client: RawClient) -> None:
    for path in ("__init__.py", "page.html", "%2e%2e/control.py"):
        assert client.http.get(f"/_sandbox/{path}").status_code == 404
