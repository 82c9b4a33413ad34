"""The page of chats, as bytes; what it does in a browser is told in tests/browser."""

from __future__ import annotations

import re

import pytest

from tests.sandbox.raw_client import RawClient


def test_all_that_the_page_names_is_there(client: RawClient) -> None:
    page = client.http.get("/_sandbox/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {"page.css", "page.js", "truth"} < set(named)
    for name in named:
        if not name.startswith("data:"):
            assert client.http.get(f"/_sandbox/{name}").status_code == 200


@pytest.mark.parametrize("path", ["", "page.css", "page.js"])
def test_it_comes_with_leave_to_run_its_own_script_only(client: RawClient, path: str) -> None:
    policy = client.http.get(f"/_sandbox/{path}").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


def test_looking_at_it_is_no_call_of_dingtalk(client: RawClient) -> None:
    before = client.control("GET", "truth?brief=1")["calls"]
    assert client.http.get("/_sandbox/").status_code == 200
    assert client.control("GET", "truth?brief=1")["calls"] == before


def test_nothing_else_of_the_package_is_shown(client: RawClient) -> None:
    for path in ("__init__.py", "page.html", "%2e%2e/control.py"):
        assert client.http.get(f"/_sandbox/{path}").status_code == 404
