"""Run the tests on each claimed combination of Airflow and Python, and write docs/compatibility.md in both languages.

``python -m dev.compat [COMBINATION …] [--parts PART …]``: one environment after the other, made by uv from packages
that were there on the combination's day, and removed afterwards. Results of other combinations and parts stay.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs"
#: Where pyenv installs interpreters; uv does not search there.
PYENV = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
#: Result, commit and date, by combination and part.
Results: TypeAlias = dict[str, dict[str, list[str]]]

#: Timeout of one part in seconds, and of those that may take longer on a busy machine.
PART_TIMEOUT = 1800.0
TIMEOUTS = {"300 sensors": 7200.0, "20 kills": 3600.0}


@dataclass(frozen=True)
class Combination:
    """Versions to test together.

    :param day: Last day of the packages to take, in ISO 8601; later ones may not suit that Airflow.
    :param options: Options of ``uv pip install``.
    :param is_claimed: False if a failure is reported only.
    :param more: Parts of :data:`MORE` to run, which take long.
    """

    airflow: str
    python: str
    day: str
    options: tuple[str, ...] = ()
    is_claimed: bool = True
    more: tuple[str, ...] = ()

    def parts_of(self, parts: Sequence[str]) -> list[str]:
        """Return those of some parts that are to run with this combination."""
        return [part for part in parts if part not in MORE or part in self.more]


Run: TypeAlias = Callable[[Combination, Sequence[str]], dict[str, str]]

COMBINATIONS = {
    "3.1.8": Combination("3.1.8", "3.11", "2026-04-01", more=("300 sensors", "20 kills")),
    "3.1.8-lowest": Combination("3.1.8", "3.11", "2026-04-01", ("--resolution", "lowest-direct")),
    "3.2.2": Combination("3.2.2", "3.11", "2026-06-20"),
    "3.3.2": Combination("3.3.2", "3.11", "2026-11-27"),
    "3.3.2-py3.12": Combination("3.3.2", "3.12", "2026-11-27"),
    "3.3.2-py3.13": Combination("3.3.2", "3.13", "2026-11-27"),
    "3.3.2-py3.14": Combination("3.3.2", "3.14", "2026-11-27", is_claimed=False),
    "3.3.2-py3.14t": Combination("3.3.2", "3.14t", "2026-11-27", is_claimed=False),
    "3.4.0b2": Combination("3.4.0b2", "3.11", "2026-11-27", ("--prerelease", "allow"), is_claimed=False),
}
_PYTEST = ("-m", "pytest", "-q", "--no-header")
_REAL = "tests/real_airflow/test_{}.py"
_ANY = ("-m", "tests.faults.any_airflow", "--only")
#: Arguments of Python by part, for parts of the combinations that name them.
MORE: dict[str, tuple[str, ...]] = {"300 sensors": (*_ANY, "sensors"), "20 kills": (*_ANY, "kills")}
#: Arguments of Python by part.
PARTS: dict[str, tuple[str, ...]] = {
    "imports": (*_PYTEST, "tests/test_lazy_imports.py", "tests/test_version_compat.py"),
    "registration": (*_PYTEST, "tests/test_get_provider_info.py"),
    "examples": (*_PYTEST, _REAL.format("example_dags")),
    "demo": ("-m", "demo"),
    "rollback": (*_PYTEST, _REAL.format("rollback_on_failure")),
    "sensors": (*_PYTEST, _REAL.format("sensors")),
    "recalls": (*_PYTEST, _REAL.format("recalls")),
    "sends": (*_PYTEST, _REAL.format("hook_sends"), _REAL.format("mapping")),
    "secrets": (*_PYTEST, _REAL.format("secrets")),
    "commands": (*_PYTEST, _REAL.format("commands")),
    "fast suite": (*_PYTEST, "-n", "2", "--dist", "loadscope", "--ignore", "tests/real_airflow"),
    **MORE,
}


def main(argv: Sequence[str] | None = None, *, run: Run | None = None, folder: Path = FOLDER) -> int:
    """Run the parts and return 1 if one of a claimed combination fails.

    :param run: Runs parts of a combination and returns their results; default :func:`run_combination`.
    :param folder: Folder of the results and of the page; default ``docs``.
    """
    parser = argparse.ArgumentParser(prog="python -m dev.compat", description=__doc__)
    parser.add_argument("combinations", nargs="*", metavar="COMBINATION", help=", ".join(COMBINATIONS))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS])
    options = parser.parse_args(argv)
    file = folder / "compatibility.json"
    results: Results = json.loads(file.read_text()) if file.exists() else {}
    has_failed = False
    for name in options.combinations or COMBINATIONS:
        found = (run or run_combination)(COMBINATIONS[name], COMBINATIONS[name].parts_of(options.parts))
        has_failed |= COMBINATIONS[name].is_claimed and any(result.startswith("fails") for result in found.values())
        when = [_commit(), datetime.now(UTC).date().isoformat()]
        results.setdefault(name, {}).update({part: [result, *when] for part, result in found.items()})
        file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        file.with_suffix(".md").write_text(page(results), encoding="utf-8")
        file.with_suffix(".zh-CN.md").write_text(page(results, is_chinese=True), encoding="utf-8")
    return int(has_failed)


def run_combination(combination: Combination, parts: Sequence[str]) -> dict[str, str]:
    """Run parts in an environment of their own, and return the result of each."""
    with tempfile.TemporaryDirectory(prefix="compat-") as folder:
        try:
            python = make_environment(combination, Path(folder))
        except subprocess.CalledProcessError as error:
            return dict.fromkeys(parts, f"not run: {cause_of(error)}")
        return {part: _run_part(part, python) for part in parts}


def cause_of(error: subprocess.CalledProcessError) -> str:
    """Return why an environment could not be made."""
    if "venv" in error.cmd:
        return "no such interpreter was found"
    return str((error.stderr or "no output").strip().splitlines()[-1])[:120]


def make_environment(combination: Combination, folder: Path) -> Path:
    """Make an environment with the project in it, and return its Python.

    :raises subprocess.CalledProcessError: If there is no such Python, or the packages cannot be resolved.
    """
    uv = str(Path(sys.executable).with_name("uv"))
    python = folder / "bin" / "python"
    _call([uv, "venv", "--quiet", "--seed", "--python", find_python(combination.python), str(folder), "--clear"])
    # Both in one command, so that Airflow stays at its version.
    wanted = ("--editable", f"{ROOT}[test]", f"apache-airflow=={combination.airflow}")
    when = ("--exclude-newer", combination.day, *combination.options)
    _call([uv, "pip", "install", "--quiet", "--python", str(python), *when, *wanted])
    return python


def find_python(version: str, pyenv: Path = PYENV) -> str:
    """Return the newest interpreter of a version that pyenv installed, else the version, for which uv searches.

    :param version: Major and minor version; with a ``t`` for a build without the global lock.
    """
    pattern = re.compile(rf"{re.escape(version.removesuffix('t'))}\.(\d+){'t' if version.endswith('t') else ''}")
    found = {
        int(match[1]): python
        for python in pyenv.glob("versions/*/bin/python")
        if (match := pattern.fullmatch(python.parts[-3]))
    }
    return str(found[max(found)]) if found else version


def _call(command: Sequence[str]) -> None:
    # A company's proxy may have a certificate that only the system knows.
    env = {"UV_SYSTEM_CERTS": "true", **os.environ}
    subprocess.run(command, check=True, capture_output=True, text=True, env=env)


def _run_part(part: str, python: Path) -> str:
    began, timeout = time.monotonic(), TIMEOUTS.get(part, PART_TIMEOUT)
    try:
        command = [str(python), *PARTS[part]]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return f"fails: not done after {timeout:.0f} s"
    result = result_of(done.returncode, done.stdout)
    print(f"{part}: {result} ({time.monotonic() - began:.0f} s)", flush=True)
    if done.returncode:
        print(done.stdout[-20000:], done.stderr[-2000:], sep="\n", flush=True)
    return result


def result_of(status: int, stdout: str) -> str:
    """Return the result of a part from its exit status and its output."""
    numbers = re.findall(r"\d+ (?:passed|failed|error|skipped)\w*", (stdout.strip().splitlines() or [""])[-1])
    return ("fails" if status else "works") + (f": {', '.join(numbers)}" if numbers else "")


def page(results: Results, *, is_chinese: bool = False) -> str:
    """Return the matrix as Markdown, in English or in Chinese."""
    names = [name for name in COMBINATIONS if name in results]
    rows = [
        ["", *(_title(name) for name in names)],
        ["---"] * (len(names) + 1),
        *([part, *(_cell(results[name].get(part)) for name in names)] for part in PARTS),
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    missing = [name for name in COMBINATIONS if name not in results]
    rest = f"\nNot run: {', '.join(missing)}.\n" if missing else ""
    if is_chinese:
        return f"{_CHINESE_HEAD}\n{_WORDS.sub(lambda match: _CHINESE[match[0]], table + rest)}\n"
    return f"{_HEAD}\n{table}\n{rest}"


_HEAD = """\
# Compatibility

[中文](compatibility.zh-CN.md)

Written by `make test-compat`: each combination in an environment of its own, with the packages of its day.
"Lowest versions" are the lowest allowed ones of each dependency; 3.14t is Python without the global lock. What works
less on older versions of Airflow: [reliability.md](reliability.md#not-promised).
"""
_CHINESE_HEAD = """\
# 兼容性

[English](compatibility.md)

由 `make test-compat` 写出：每种组合各用一个独立的环境，装当时的软件包。
“最低版本”指每个依赖都取允许的最低版本；3.14t 是没有全局锁的 Python。
旧版 Airflow 上哪些功能受限：[reliability.zh-CN.md](reliability.zh-CN.md#不承诺)。
"""
_CHINESE = {
    ", lowest versions": "，最低版本",
    ", not claimed": "，不在承诺之内",
    ", Python": "，Python",
    "not run: no such interpreter was found": "未运行：没有找到这个解释器",
    "not run: ": "未运行：",
    "Not run: ": "未运行：",
    "not run": "未运行",
    "works: ": "",
    "works": "通过",
    "fails: not done after": "失败：超时",
    "fails: ": "失败：",
    "fails": "失败",
    " passed": " 项通过",
    " failed": " 项失败",
    " skipped": " 项跳过",
    " errors": " 项出错",
    " error": " 项出错",
}
_WORDS = re.compile("|".join(map(re.escape, _CHINESE)))


def _title(name: str) -> str:
    one = COMBINATIONS[name]
    kind = ", lowest versions" if "lowest-direct" in one.options else "" if one.is_claimed else ", not claimed"
    return f"Airflow {one.airflow}, Python {one.python}{kind}"


def _cell(of_part: Sequence[str] | None) -> str:
    if of_part is None:
        return "not run"
    result, commit, date = of_part
    return f"{result} ({commit}, {date})"


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
