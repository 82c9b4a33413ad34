"""Error codes: the pages of both languages list all of them, with what the table of the client says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from airflow_provider_dingtalk.client.error_codes import CODES, FAMILIES, Retry
from dev.error_codes import CHINESE, ENGLISH, PAGES, REACTIONS, REASONS, page_with, reasons, table


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_pages_list_the_codes_of_today(page: Path) -> None:
    # After a change of the table: `python -m dev.error_codes`.
    assert page_with(table(page), page) == page.read_text(encoding="utf-8")


def test_each_code_stands_in_one_row_with_its_next_step() -> None:
    rows = [line.split(" | ") for line in table(ENGLISH).splitlines()[2:]]
    listed = [code for row in rows for code in re.findall(r"`([^`]+)`", row[0])]
    assert sorted(listed) == sorted([*CODES, *(f"{prefix}…" for prefix in FAMILIES)])
    (expired,) = [row for row in rows if "robot.processQueryKey.expired" in row[0]]
    assert expired[1:] == [
        "Older than 24 hours: it can no longer be recalled. Send a correction.",
        "does not repeat the call",
        "`RecallExpiredError` |",
    ]


def test_the_chinese_page_has_the_chinese_texts() -> None:
    assert "消息已超过 24 小时，无法撤回。请发送更正消息。 | 不重试 |" in table(CHINESE)
    assert set(REACTIONS) == set(Retry)


def test_the_messages_page_has_the_chinese_of_each_next_step() -> None:
    # After a change of a text: `python -m dev.error_codes`.
    assert reasons() == REASONS.read_text(encoding="utf-8")
    known = json.loads(reasons())
    assert {rule.next_step: rule.next_step_zh for rule in CODES.values()}.items() <= known.items()
    assert known["Run the recall again."] == "请重新执行撤回。"
