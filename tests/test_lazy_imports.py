"""Imports inside functions: each must resolve on the installed Airflow, also where no test reaches it.

Run this file alone in an environment that has another version: ``python -m pytest tests/test_lazy_imports.py``.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import airflow
import pytest

import airflow_provider_dingtalk

# Warnings of Airflow's modules at import are not tested here.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

HOME = Path(airflow_provider_dingtalk.__file__).parent
#: The only modules that may try one place of a name after the other.
FALLBACKS = {"version_compat.py", "sensors.py", "plugin.py"}


class Name(NamedTuple):
    """An imported name.

    :param name: None if the module itself is imported.
    """

    module: str
    name: str | None
    line: int

    def resolves(self) -> bool:
        try:
            module = importlib.import_module(self.module)
        except ImportError:
            return False
        return self.name is None or hasattr(module, self.name) or _is_module(f"{self.module}.{self.name}")

    def __str__(self) -> str:
        return f"line {self.line}: {self.module}" + (f".{self.name}" if self.name else "")


def _is_module(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def names_in(nodes: list[ast.stmt]) -> Iterator[Name]:
    """List all imported names in statements, at any depth, without those of the standard library."""
    for node in (node for top in nodes for node in ast.walk(top)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None, "relative imports are not used here"
            names = [None if alias.name == "*" else alias.name for alias in node.names]
            yield from (Name(node.module, name, node.lineno) for name in names if is_foreign(node.module))
        elif isinstance(node, ast.Import):
            yield from (Name(alias.name, None, node.lineno) for alias in node.names if is_foreign(alias.name))


def is_foreign(module: str) -> bool:
    return module.partition(".")[0] not in sys.stdlib_module_names


def fallbacks_in(tree: ast.Module) -> list[ast.Try]:
    """Statements that try an import and go on without it."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Try)
        and list(names_in(node.body))
        and any("ImportError" in ast.unparse(handler.type) for handler in node.handlers if handler.type)
    ]


def unresolved(source: str) -> list[Name]:
    """Names that a module imports and that are not there; of a fallback one way is enough."""
    tree = ast.parse(source)
    fallbacks = fallbacks_in(tree)
    excused = {
        name for node in fallbacks for name in names_in([*node.body, *(s for h in node.handlers for s in h.body)])
    }
    ways = [[node.body, *(handler.body for handler in node.handlers)] for node in fallbacks]
    dead = [
        name
        for way in ways
        if not any(all(name.resolves() for name in names_in(body)) for body in way)
        for name in names_in(way[0])
    ]
    return dead + [name for name in names_in(tree.body) if name not in excused and not name.resolves()]


SOURCES = sorted(HOME.rglob("*.py"))
ROOT = Path(__file__).parents[1]
VERSION = tuple(int(part) for part in airflow.__version__.split(".")[:2])
#: The DAG of incidents needs Airflow 3.2.
DAGS = [
    source
    for folder in ("example_dags", "tests/real_airflow/dags")
    for source in sorted((ROOT / folder).glob("*.py"))
    if VERSION >= (3, 2) or source.name != "dingtalk_incident_rollback.py"
]


@pytest.mark.parametrize("source", SOURCES + DAGS, ids=lambda source: source.relative_to(ROOT).as_posix())
def test_every_import_of_a_module_resolves_also_inside_functions(source: Path) -> None:
    assert [str(name) for name in unresolved(source.read_text(encoding="utf-8"))] == []


def test_only_the_modules_for_it_know_that_a_name_moved() -> None:
    having = {source.name for source in SOURCES if fallbacks_in(ast.parse(source.read_text(encoding="utf-8")))}
    assert having == FALLBACKS


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("def f():\n    from airflow.sdk import Smoke", ["line 2: airflow.sdk.Smoke"]),
        ("def f():\n    from airflow.smoke import Signal", ["line 2: airflow.smoke.Signal"]),
        ("def f():\n    import airflow.smoke", ["line 2: airflow.smoke"]),
        ("from airflow.sdk import *\nfrom airflow.smoke import *", ["line 2: airflow.smoke"]),
        ("class C:\n    async def f(self):\n        import smoke_signals", ["line 3: smoke_signals"]),
        ("if TYPE_CHECKING:\n    from airflow.sdk import Smoke", ["line 2: airflow.sdk.Smoke"]),
        (
            "try:\n    from airflow.sdk import Smoke\nexcept ImportError:\n    from airflow.smoke import Smoke",
            ["line 2: airflow.sdk.Smoke"],
        ),
        ("try:\n    from airflow.smoke import DAG\nexcept ImportError:\n    from airflow.sdk import DAG", []),
        ("from airflow import sdk\nimport json.nothing\nfrom airflow.sdk import DAG", []),
    ],
)
def test_a_name_that_is_not_there_is_found(source: str, missing: list[str]) -> None:
    assert [str(name) for name in unresolved(source)] == missing
