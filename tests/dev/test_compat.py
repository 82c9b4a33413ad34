"""Compatibility matrix: results of parts, and the page."""

from __future__ import annotations

import pytest

from dev.compat import COMBINATIONS, PARTS, page, result_of
from tests.test_layout import ROOT

SOME = {
    "3.1.8": {"commit": "abc1234", "date": "2026-11-28", "parts": {"demo": "works", "sensors": "fails: 1 failed"}},
}


@pytest.mark.parametrize(
    ("status", "stdout", "result"),
    [
        (0, "...\n47 passed in 12.3s\n", "works: 47 passed"),
        (1, "F\n2 failed, 45 passed, 1 skipped in 3s", "fails: 2 failed, 45 passed, 1 skipped"),
        (0, "", "works"),
        (2, "ImportError", "fails"),
    ],
)
def test_the_result_is_the_exit_status_with_the_numbers(status: int, stdout: str, result: str) -> None:
    assert result_of(status, stdout) == result


def test_the_page_tells_what_was_not_run() -> None:
    written = page(SOME)
    assert "| demo | works |" in written and "| sensors | fails: 1 failed |" in written
    assert "| rollback | not run |" in written
    assert "Not run: " in written and "3.3.2-py3.13" in written.split("Not run: ")[1]


def test_the_claimed_versions_of_python_are_those_of_the_package() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for one in COMBINATIONS.values():
        assert f'"Programming Language :: Python :: {one.python}"' in text


def test_each_file_of_a_part_exists() -> None:
    for arguments in PARTS.values():
        for file in arguments:
            assert not file.startswith("tests/") or (ROOT / file).exists(), file
