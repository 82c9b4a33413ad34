"""Layout of the tests: one test file for each module, and no long ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE, TESTS = ROOT / "airflow_provider_dingtalk", ROOT / "tests"
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
MOST_LINES = 400
#: Heading of the table in CONTRIBUTING.md, and a row of it.
HEADING, ROW = (
    "### Modules without a test file of their name",
    re.compile(r"^\| `([\w/.]+\.py)` \| (.+) \|$", re.MULTILINE),
)


def listed() -> dict[str, str]:
    """Return the modules that CONTRIBUTING.md lists, with the reason."""
    _, _, after = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition(f"{HEADING}\n")
    section, _, _ = after.partition("\n#")
    return dict(ROW.findall(section))


def home_of(module: str) -> Path:
    """Return the path of a module's test file."""
    path = Path(module)
    return TESTS / path.parent / f"test_{path.stem.strip('_')}.py"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_a_test_file_of_its_name_or_a_reason(module: str) -> None:
    assert home_of(module).is_file() != (module in listed())


def test_the_list_of_exceptions_names_modules_and_reasons() -> None:
    exceptions = listed()
    assert exceptions
    assert set(exceptions) <= set(MODULES)
    assert all(len(reason) > 10 for reason in exceptions.values())


def test_no_test_file_is_long() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_bytes().splitlines()) for path in TESTS.rglob("test_*.py")
    }
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}
