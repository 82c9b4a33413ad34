"""Compatibility matrix: results of parts, and the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from subprocess import CalledProcessError

import pytest

from dev.compat import COMBINATIONS, MORE, PARTS, TIMEOUTS, Combination, cause_of, find_python, main, page, result_of
from tests.test_layout import ROOT

SOME = {
    "3.1.8": {
        "demo": ["works", "abc1234", "2026-11-28"],
        "sensors": ["fails: 1 failed", "abc1234", "2026-11-28"],
    },
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
    assert "| demo | works (abc1234, 2026-11-28) |" in written
    assert "| sensors | fails: 1 failed (abc1234, 2026-11-28) |" in written
    assert "| rollback | not run |" in written
    assert "Not run: " in written and "3.3.2-py3.13" in written.split("Not run: ")[1]


def test_the_chinese_page_says_the_same() -> None:
    chinese = page(SOME, is_chinese=True)
    assert "| demo | 通过 (abc1234, 2026-11-28) |" in chinese
    assert "| sensors | 失败：1 项失败 (abc1234, 2026-11-28) |" in chinese
    assert "| rollback | 未运行 |" in chinese
    assert "3.3.2-py3.13" in chinese.split("未运行：")[-1]


def test_long_parts_run_with_the_combinations_that_name_them():
    assert set(MORE) == {"300 sensors", "20 kills"} <= set(PARTS)
    assert set(TIMEOUTS) <= set(PARTS)
    assert COMBINATIONS["3.1.8"].parts_of([*PARTS]) == [*PARTS]
    for name, one in COMBINATIONS.items():
        assert set(one.more) <= set(MORE)
        assert name == "3.1.8" or one.parts_of([*PARTS]) == [part for part in PARTS if part not in MORE]


def test_the_command_runs_no_long_part_where_it_is_not_wanted(tmp_path: Path) -> None:
    ran: dict[str, list[str]] = {}

    def run(combination: Combination, parts: Sequence[str]) -> dict[str, str]:
        ran[combination.airflow] = [*parts]
        return dict.fromkeys(parts, "works")

    wanted = ["3.1.8", "3.3.2", "--parts", "demo", "300 sensors", "20 kills"]
    assert main(wanted, run=run, folder=tmp_path) == 0
    assert ran == {"3.1.8": ["demo", "300 sensors", "20 kills"], "3.3.2": ["demo"]}
    written = (tmp_path / "compatibility.md").read_text()
    assert (tmp_path / "compatibility.zh-CN.md").exists()
    for part in ("300 sensors", "20 kills"):
        assert re.search(rf"\| {part} \| works \(.*\) \| not run \|", written)


def test_the_claimed_versions_of_python_are_those_of_the_package() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for one in (one for one in COMBINATIONS.values() if one.is_claimed):
        assert f'"Programming Language :: Python :: {one.python}"' in text


def test_each_file_of_a_part_exists() -> None:
    for arguments in PARTS.values():
        for file in arguments:
            assert not file.startswith("tests/") or (ROOT / file).exists(), file


def test_only_what_ran_now_decides_the_exit_status(tmp_path: Path) -> None:
    status = {}
    for result in ("fails: 1 failed", "works", "not run: no such Python"):
        for name in ("3.3.2", "3.4.0b2"):
            run = partial(_all, result)
            status[name, result] = main([name, "--parts", "demo"], run=run, folder=tmp_path)
    assert {key for key, one in status.items() if one} == {("3.3.2", "fails: 1 failed")}
    assert main(["3.3.2", "--parts", "demo"], run=partial(_all, "fails"), folder=tmp_path) == 1
    assert main(["3.3.2", "--parts", "sensors"], run=partial(_all, "works"), folder=tmp_path) == 0


def _all(result: str, _: Combination, parts: Sequence[str]) -> dict[str, str]:
    return dict.fromkeys(parts, result)


def test_an_interpreter_of_pyenv_is_found(tmp_path: Path) -> None:
    for version in ("3.12.1", "3.13.0", "3.14.9", "3.14.10", "3.14.11t"):
        (tmp_path / "versions" / version / "bin").mkdir(parents=True)
        (tmp_path / "versions" / version / "bin/python").touch()
    assert find_python("3.13", tmp_path) == str(tmp_path / "versions/3.13.0/bin/python")
    assert find_python("3.14", tmp_path) == str(tmp_path / "versions/3.14.10/bin/python")
    assert find_python("3.14t", tmp_path) == str(tmp_path / "versions/3.14.11t/bin/python")
    assert find_python("3.1", tmp_path) == "3.1"


def test_the_cause_of_a_missing_environment_is_told() -> None:
    assert cause_of(CalledProcessError(2, ["uv", "venv"], stderr="a\nb")) == "no such interpreter was found"
    assert cause_of(CalledProcessError(1, ["uv", "pip"], stderr="a\nno version of b\n")) == "no version of b"
    assert cause_of(CalledProcessError(1, ["uv", "pip"])) == "no output"
