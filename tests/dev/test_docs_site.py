"""Documentation site: its navigation, links between its pages, and docstrings as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_provider_dingtalk import operators
from dev.docs_site import CHINESE, EXAMPLES, PAGES, ROOT, gather, text_of, with_anchors, with_site_links, without_roles
from dev.public_names import MODULES

DOCS = [*(ROOT / "docs").rglob("*.md")]
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


def _pages(nav: Any) -> Iterator[str]:
    for entry in nav:
        found = next(iter(entry.values())) if isinstance(entry, dict) else entry
        yield from [found] if isinstance(found, str) else _pages(found)


def _sections(nav: Any) -> Iterator[str]:
    for entry in nav:
        if isinstance(entry, dict):
            (title, found), *_ = entry.items()
            yield title
            yield from [] if isinstance(found, str) else _sections(found)


def test_the_navigation_names_every_page_once() -> None:
    docs = [path.relative_to(ROOT / "docs").as_posix() for path in DOCS]
    english = [page for page in [*docs, *PAGES.values()] if not page.endswith(CHINESE)]
    # The hook adds the example DAGs.
    assert sorted([*_pages(CONFIG["nav"]), *EXAMPLES.values()]) == sorted(english)


def test_each_section_has_a_chinese_title() -> None:
    (i18n,) = [plugin["i18n"] for plugin in CONFIG["plugins"] if isinstance(plugin, dict) and "i18n" in plugin]
    (chinese,) = [language for language in i18n["languages"] if language["locale"] == "zh-CN"]
    assert set(chinese["nav_translations"]) == set(_sections(CONFIG["nav"]))


def test_the_reference_has_every_public_module_and_operator() -> None:
    listed = [text_of(page) for page in (ROOT / "docs" / "api").glob("*.md")]
    names = {line.removeprefix("::: ") for text in listed for line in text.splitlines() if line.startswith("::: ")}
    package = "airflow_provider_dingtalk"
    assert {f"{package}.{module}" for module in MODULES if module != "operators"} <= names
    assert {f"{package}.operators.{name}" for name in operators.__all__} <= names


@pytest.mark.parametrize(
    ("page", "markdown", "expected"),
    [
        ("index.md", "[Commands](docs/commands.md#the-probe)", "[Commands](commands.md#the-probe)"),
        ("index.md", "[中文](README.zh-CN.md)", '<a href="zh-CN/index.html">中文</a>'),
        ("index.zh-CN.md", "[English](README.md)", '<a href="../index.html">English</a>'),
        ("index.zh-CN.md", "[沙箱](docs/sandbox.zh-CN.md)", "[沙箱](sandbox.md)"),
        ("commands.md", "[the report](../README.md#the-report)", "[the report](index.md#the-report)"),
        ("api/hooks.md", "[x](../commands.md)", "[x](../commands.md)"),
        ("incident.md", "[`a DAG`](../example_dags/dingtalk_sweep.py)", "[`a DAG`](example_dags/dingtalk_sweep.md)"),
        ("benchmarks.md", "[`benchmarks/`](../benchmarks) [x](benchmarks.json)", "`benchmarks/` [x](benchmarks.json)"),
        ("cluster_tests.md", "[x](../../docs/scaling.md)", "[x](scaling.md)"),
        (
            "design.md",
            "[x](https://open.dingtalk.com/) [y](#decisions)",
            "[x](https://open.dingtalk.com/) [y](#decisions)",
        ),
        ("design.md", "```python\na[0](b.py)\n```", "```python\na[0](b.py)\n```"),
    ],
)
def test_links_between_files_become_links_between_pages(page: str, markdown: str, expected: str) -> None:
    assert with_site_links(markdown, page) == expected


def test_an_example_dag_is_a_page_of_code() -> None:
    page = text_of(ROOT / "example_dags" / "dingtalk_sweep.py")
    assert page.startswith('# dingtalk_sweep\n\n```python\n"""') and page.endswith(")\n```\n")


def test_all_pages_are_gathered_with_their_links(tmp_path: Path) -> None:
    gather(tmp_path / "docs")
    gather(tmp_path / "docs")
    pages = {path.relative_to(tmp_path / "docs").as_posix() for path in (tmp_path / "docs").rglob("*.md")}
    assert pages == {*PAGES.values(), *(path.relative_to(ROOT / "docs").as_posix() for path in DOCS)}
    assert "](getting_started.md)" in text_of(tmp_path / "docs" / "index.md")


def test_headings_of_a_chinese_page_have_the_english_anchors() -> None:
    english = "# `x` and y\n\n```\n# no heading\n```\n\n## The report: 1\n"
    chinese = "# `x` 和 y\n\n```\n# 不是标题\n```\n\n## 报告：1\n"
    expected = chinese.replace("## ", '<a id="the-report-1"></a>\n\n## ')
    assert with_anchors(chinese, english) == expected


def test_docstrings_become_markdown() -> None:
    docstring = "Do it::\n\n    f(x)\n\n:param x: A :class:`~a.b.Thing`.\n\nAll else is in\n:mod:`a.b`."
    assert without_roles(docstring) == "Do it:\n\n    f(x)\n\nAll else is in\n`b`.\n\n:param x: A `Thing`."
