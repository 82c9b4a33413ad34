"""Pages for people: links between files, code blocks, and equal pages in both languages."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from importlib import import_module
from itertools import chain
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from airflow_provider_dingtalk.get_provider_info import get_provider_info
from dev.docs_site import anchor

ROOT = Path(__file__).parents[1]
PACKAGE = "airflow_provider_dingtalk"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "tests" / "cluster" / "README.md"])
CHINESE = [page for page in PAGES if page.name.endswith(".zh-CN.md")]
PARSER = MarkdownIt("commonmark").enable("table")
#: Comments and texts, which a translation changes.
WORDS = re.compile(r'#.*|"(?:[^"\\]|\\.)*"')


def _id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _tokens(page: Path) -> list[Token]:
    return PARSER.parse(page.read_text(encoding="utf-8"))


def _links(page: Path) -> Iterator[str]:
    inline = chain.from_iterable(token.children or () for token in _tokens(page))
    for token in inline:
        if token.type in {"link_open", "image"}:
            yield str(token.attrs.get("href", token.attrs.get("src")))


def _headings(page: Path) -> list[tuple[str, str]]:
    tokens = _tokens(page)
    return [
        (token.tag, tokens[place + 1].content) for place, token in enumerate(tokens) if token.type == "heading_open"
    ]


def _anchors(page: Path) -> set[str]:
    return {anchor(text) for _, text in _headings(page)}


def _code(page: Path, language: str = "") -> list[tuple[str, str]]:
    blocks = [(token.info, token.content) for token in _tokens(page) if token.type == "fence"]
    return [block for block in blocks if block[0] == language or not language]


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in _links(page):
        path, _, fragment = unquote(link).partition("#")
        if ":" in path:
            assert link.startswith(("https://", "mailto:")), link
            continue
        aim = (page.parent / path) if path else page
        assert aim.exists(), link
        assert not fragment or fragment in _anchors(aim), link


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_code_blocks_are_valid(page: Path) -> None:
    for _, code in _code(page, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith(PACKAGE):
                module = import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names), code
    for _, code in _code(page, "json"):
        json.loads(code)


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_readme_is_short(name: str) -> None:
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_dags_can_be_parsed(page: Path) -> None:
    for _, code in _code(page, "python"):
        if "DAG(" in code or "@dag" in code:
            exec(compile(code, page.name, "exec"), {})


@pytest.mark.parametrize("name", ["connection.md", "connection.zh-CN.md"])
def test_the_connection_page_has_all_fields_and_options(name: str) -> None:
    info = get_provider_info()
    (connection,) = info["connection-types"]
    assert {*connection["conn-fields"], *info["config"]["dingtalk"]["options"]} <= _names(ROOT / "docs" / name)


@pytest.mark.parametrize("page", CHINESE, ids=_id)
def test_a_chinese_page_equals_the_english_one(page: Path) -> None:
    english = page.with_name(page.name.replace(".zh-CN.md", ".md"))
    assert [level for level, _ in _headings(page)] == [level for level, _ in _headings(english)]
    assert _without_words(page) == _without_words(english)
    assert _names(page) == _names(english)


def _names(page: Path) -> set[str]:
    """Return what stands in monospace: options, fields, codes, classes."""
    inline = chain.from_iterable(token.children or () for token in _tokens(page))
    return {token.content for token in inline if token.type == "code_inline"}


def _without_words(page: Path) -> list[tuple[str, list[str]]]:
    return [(info, [WORDS.sub("", line).rstrip() for line in code.splitlines()]) for info, code in _code(page)]
