"""List DingTalk's error codes in docs/error_codes.md and docs/error_codes.zh-CN.md.

Run from the project's root: ``python -m dev.error_codes``.
"""

from __future__ import annotations

from pathlib import Path

from airflow_provider_dingtalk.client.error_codes import CODES, FAMILIES, Retry, Rule

DOCS = Path(__file__).parents[1] / "docs"
ENGLISH, CHINESE = PAGES = (DOCS / "error_codes.md", DOCS / "error_codes.zh-CN.md")
BEGIN, END = "<!-- codes: written by python -m dev.error_codes -->", "<!-- end of codes -->"
HEADERS = {
    ENGLISH: "| code | next step | what the package does | exception |",
    CHINESE: "| 错误码 | 下一步 | 软件包的处理 | 异常 |",
}
#: What the package does after a code, in English and Chinese.
REACTIONS = {
    Retry.REFRESH: ("gets a new token and repeats the call once", "换新令牌并重试一次"),
    Retry.WAIT: ("waits and repeats the call, which was not carried out", "等待后重试；该调用未被执行"),
    Retry.AGAIN: (
        "repeats the call if that is harmless; it may have been carried out",
        "无害时重试；该调用可能已被执行",
    ),
    Retry.ASK: ("recalls again, then polls the status", "再次撤回，然后查询状态"),
    Retry.LATER: ("polls again later", "稍后再次查询"),
    Retry.NEVER: ("does not repeat the call", "不重试"),
}


def table(page: Path) -> str:
    """Return the codes in a page's language as Markdown, one rule in each row."""
    rules = dict.fromkeys(CODES.values())
    return "\n".join([HEADERS[page], "|---|---|---|---|", *(_row(rule, page) for rule in rules)])


def page_with(codes: str, page: Path) -> str:
    """Return the text of a page with these codes in place of its own."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    return f"{before}{BEGIN}\n\n{codes}\n\n{END}{rest.split(END)[1]}"


def _row(rule: Rule, page: Path) -> str:
    in_english, in_chinese = REACTIONS[rule.retry]
    texts = (rule.next_step, in_english) if page == ENGLISH else (rule.next_step_zh, in_chinese)
    families = [f"{prefix}…" for prefix, meant in FAMILIES.items() if meant == rule]
    codes = [code for code, meant in CODES.items() if meant == rule]
    return (
        f"| {' '.join(f'`{code}`' for code in [*codes, *families])} | {' | '.join(texts)} | `{rule.error.__name__}` |"
    )


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(page_with(table(path), path), encoding="utf-8")
