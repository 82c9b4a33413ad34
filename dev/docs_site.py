"""MkDocs hook of the documentation site: pages from outside of docs/, and links to them.

``make docs`` builds the site; https://www.mkdocs.org/user-guide/configuration/#hooks
"""

from __future__ import annotations

import posixpath
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

ROOT = Path(__file__).parents[1]
#: Folder from which MkDocs builds the site.
STAGE = ROOT / "build" / "docs"
#: End of the name of a Chinese page, and the folder of the Chinese pages in the site.
CHINESE, CHINESE_FOLDER = ".zh-CN.md", "zh-CN"
EXAMPLES = {f"example_dags/{path.name}": f"example_dags/{path.stem}.md" for path in ROOT.glob("example_dags/*.py")}
#: Files outside of docs/ that are pages, with their place in the site.
PAGES = {
    "README.md": "index.md",
    "README.zh-CN.md": "index.zh-CN.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "tests/cluster/README.md": "cluster_tests.md",
    **EXAMPLES,
}
_SOURCES = {page: source for source, page in PAGES.items()}
_CODE_BLOCK = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{2,6} (.+)$", re.MULTILINE)
_LITERAL_BLOCK = re.compile(r"::(?=\n\n )")
_ROLE = re.compile(r":\w+:`~?(?:[\w.]+\.)?(\w+)`")


def on_config(config: MkDocsConfig) -> None:
    """Gather all pages in one folder, list the example DAGs, and name the anchors of headings as GitHub does."""
    from pymdownx.slugs import slugify

    gather(STAGE)
    config.docs_dir = str(STAGE)
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")
    for entry in config.nav or ():
        if "Example DAGs" in entry:
            entry["Example DAGs"] = sorted(EXAMPLES.values())


def gather(folder: Path) -> None:
    """Copy docs/ and the pages from outside of it into an empty folder, with the links of the site."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder)
    for source, page in PAGES.items():
        (folder / page).parent.mkdir(exist_ok=True)
        (folder / page).write_text(text_of(ROOT / source), encoding="utf-8")
    for path in folder.rglob(f"*{CHINESE}"):
        english = path.with_name(_english(path.name))
        path.write_text(with_anchors(text_of(path), text_of(english)), encoding="utf-8")
    for path in folder.rglob("*.md"):
        page = path.relative_to(folder).as_posix()
        path.write_text(with_site_links(text_of(path), page), encoding="utf-8")


def text_of(path: Path) -> str:
    """Return a file as Markdown; that of an example DAG is its source."""
    text = path.read_text(encoding="utf-8")
    return text if path.suffix == ".md" else f"# {path.stem}\n\n```python\n{text}```\n"


def with_anchors(chinese: str, english: str) -> str:
    """Return a Chinese page whose headings, apart from the title, have the English anchors too.

    Pages that are in English only link to those.
    """
    headings = iter(_HEADING.findall(_CODE_BLOCK.sub("", english)))
    parts = _CODE_BLOCK.split(chinese)
    return "".join(
        part if number % 2 else _HEADING.sub(lambda line: f'<a id="{anchor(next(headings))}"></a>\n\n{line[0]}', part)
        for number, part in enumerate(parts)
    )


def anchor(heading: str) -> str:
    """Return the anchor that GitHub and the site give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def with_site_links(markdown: str, page: str) -> str:
    """Return Markdown with links between files of the repository turned into links between pages.

    A link to a file that is not a page leaves its text.

    :param page: Place of the page in the site, such as ``index.md``.
    """
    source = _SOURCES.get(page, f"docs/{page}")

    def rewrite(link: re.Match[str]) -> str:
        text, target = link.groups()
        path, *fragment = target.partition("#")
        if not path or ":" in path:
            return link[0]
        aim = _page_of(posixpath.normpath(posixpath.join(posixpath.dirname(source), path)))
        return _link(text, aim, "".join(fragment), page) if aim else text

    # Odd parts are code blocks.
    parts = _CODE_BLOCK.split(markdown)
    return "".join(part if number % 2 else _LINK.sub(rewrite, part) for number, part in enumerate(parts))


def _page_of(path: str) -> str | None:
    return PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)


def _link(text: str, aim: str, fragment: str, page: str) -> str:
    """Return a link to a page in the page's language, or to the same page in the other language."""
    english = _english(aim)
    if aim == page or english != _english(page):
        return f"[{text}]({posixpath.relpath(english, posixpath.dirname(page) or '.')}{fragment})"
    # MkDocs knows the pages of one language at a time, and leaves HTML as it is.
    folder = ".." if page.endswith(CHINESE) else CHINESE_FOLDER
    return f'<a href="{folder}/{english.removesuffix(".md")}.html">{text}</a>'


def _english(page: str) -> str:
    return page.removesuffix(CHINESE) + ".md" if page.endswith(CHINESE) else page


def without_roles(docstring: str) -> str:
    """Return a docstring as Markdown: without reStructuredText's roles and ``::``, and with the fields at its end."""
    paragraphs = _LITERAL_BLOCK.sub(":", _ROLE.sub(r"`\1`", docstring)).split("\n\n")
    return "\n\n".join(sorted(paragraphs, key=lambda paragraph: paragraph.startswith(":")))
