"""List DingTalk's error codes in two pages of docs, and the Chinese of reasons in a file of the Messages page.

Run from the project's root: ``python -m dev.error_codes``.
"""

from __future__ import annotations

import json
from pathlib import Path

from airflow_provider_dingtalk import language
from airflow_provider_dingtalk.client.error_codes import CODES, FAMILIES, Retry, Rule
from airflow_provider_dingtalk.messages.reason import chinese_of_tables

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
#: Chinese of the sentences in reasons, which are English in reports, by the English text.
REASONS = ROOT / "airflow_provider_dingtalk" / "plugin" / "static" / "reasons.zh.json"
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


def reasons() -> str:
    """Return the Chinese of the sentences that a reason may hold, as JSON."""
    texts = {**language.CHINESE, **chinese_of_tables()}
    sentences = {en: zh for en, zh in texts.items() if en.endswith(".") and "%" not in en and "://" not in en}
    return json.dumps(sentences, ensure_ascii=False, indent=0) + "\n"


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
    REASONS.write_text(reasons(), encoding="utf-8")
