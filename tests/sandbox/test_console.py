"""The page of chats, as bytes; what it does in a browser is told in tests/browser."""

from __future__ import annotations

import re

import pytest

from tests.sandbox.sandbox_dialogue import Dialogue


def test_all_that_the_page_names_is_there(talk: Dialogue) -> None:
    page = talk.http.get("/_sandbox/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {"page.css", "page.js", "truth"} < set(named)
    for name in named:
        if not name.startswith("data:"):
            assert talk.http.get(f"/_sandbox/{name}").status_code == 200


@pytest.mark.parametrize("path", ["", "page.css", "page.js"])
def test_it_comes_with_leave_to_run_its_own_script_only(talk: Dialogue, path: str) -> None:
    policy = talk.http.get(f"/_sandbox/{path}").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


def test_looking_at_it_is_no_call_of_dingtalk(talk: Dialogue) -> None:
    before = talk.control("GET", "truth?brief=1")["calls"]
    assert talk.http.get("/_sandbox/").status_code == 200
    assert talk.control("GET", "truth?brief=1")["calls"] == before


def test_nothing_else_of_the_package_is_shown(talk: Dialogue) -> None:
    for path in ("__init__.py", "page.html", "%2e%2e/control.py"):
        assert talk.http.get(f"/_sandbox/{path}").status_code == 404
