"""Messages by conversation: what, how many, to how many people, when, and what became of them."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.log import mask_secret

from airflow_provider_dingtalk.jobs.report import MessageResult, Outcome
from airflow_provider_dingtalk.language import Language, in_language
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from airflow_provider_dingtalk.task.conversations import MAX_LOGGED, by_conversation, lines, people_in_words, shown_text
from tests.support.sends import send_requests

pytestmark = pytest.mark.usefixtures("english")

NOON = 1_795_867_200.0
RECALLED, FAILED = MessageResult(Outcome.RECALLED), MessageResult(Outcome.FAILED)


def sent(key: str, kind: Kind = Kind.GROUP, **more: Any) -> Receipt:
    where = {"open_conversation_id": "cid1"} if kind is Kind.GROUP else {}
    return Receipt(kind=kind, robot_code="ding", process_query_key=key, **{**where, **more})


def test_messages_of_a_kind_and_conversation_are_one_line_with_what_became_of_them() -> None:
    receipts = [
        sent("a", sent_at="2026-11-28T11:50:00.000Z", recipients=20),
        sent("b", sent_at="2026-11-28T11:58:00.000Z"),
        sent("c", open_conversation_id="cid2"),
        *(sent(f"d{number}", Kind.OTO, sent_at="2026-11-28T11:00:00.000Z", recipients=15) for number in range(3)),
    ]
    results = {receipt.key: RECALLED for receipt in receipts} | {"b": FAILED}
    when = "sent from 2026-11-28 11:50:00 to 2026-11-28 11:58:00 UTC"
    assert lines([*receipts, receipts[0]], NOON, results) == [
        "  one-on-one messages: 3 to 45 people, sent at 2026-11-28 11:00:00 UTC, 1:00:00 ago: recalled 3",
        f"  group messages in cid1: 2 to 20 people at least, {when}, up to 0:10:00 ago: recalled 1, failed 1",
        "  group messages in cid2: 1 to an unknown number of people, sent at an unknown time: recalled 1",
    ]


def test_the_lines_are_chinese_in_a_chinese_text() -> None:
    receipts = [
        sent("a", sent_at="2026-11-26T11:50:00.000Z", recipients=20, text="数据有误"),
        sent("b", sent_at="2026-11-28T11:58:00.000Z"),
        sent("c"),
        *(sent(f"d{number}", Kind.OTO, sent_at="2026-11-28T11:00:00.000Z", recipients=15) for number in range(2)),
        *(sent(f"{number}", open_conversation_id=f"cid{number}") for number in range(2, MAX_LOGGED + 1)),
    ]
    results = {"a": RECALLED, "b": FAILED, "c": RECALLED}
    listed = in_language(Language.ZH, lambda: "\n".join(lines(receipts, NOON, results))).splitlines()
    when = "发送于 2026-11-26 11:50:00 至 2026-11-28 11:58:00 UTC（最早 2 天 0:10:00 前），部分时间未知"
    assert listed[:3] == [
        f"  群消息（cid1） “数据有误”：3 条，接收人至少 20 名，{when}：已撤回 2，失败 1",
        "  单聊消息：2 条，接收人 30 名，发送于 2026-11-28 11:00:00 UTC（1:00:00 前）",
        "  群消息（cid2）：1 条，接收人数未知，发送时间未知",
    ]
    assert listed[-1] == "  另有 1 个会话"


def test_before_a_recall_a_line_has_no_outcomes() -> None:
    [line] = lines([sent("a", sent_at="2026-11-28T12:00:00.000Z"), sent("b")], NOON)
    assert line.endswith("sent at 2026-11-28 12:00:00 UTC, 0:00:00 ago, some at an unknown time")


def test_a_log_names_the_largest_conversations_and_counts_the_others() -> None:
    receipts = [sent(f"{number}", open_conversation_id=f"cid{number}") for number in range(MAX_LOGGED + 3)]
    listed = lines([*receipts, sent("more", open_conversation_id="cid7")], NOON)
    assert len(listed) == MAX_LOGGED + 1
    assert listed[0].startswith("  group messages in cid7: 2 to")
    assert listed[-1] == "  and 3 more conversations"


def test_a_plan_has_numbers_times_and_distinct_readers_but_nothing_unknown() -> None:
    receipts = [
        sent("a", sent_at="2026-11-28T11:50:00.000Z", recipients=20),
        sent("b", sent_at="2026-11-28T11:40:00.000Z", recipients=2),
        sent("c", open_conversation_id="cid2"),
    ]
    first, second = by_conversation(receipts)
    assert first.to_json({"a": ["u1", "u2"], "b": ["u2"]}) == {
        "kind": "group",
        "open_conversation_id": "cid1",
        "messages": 2,
        "people": 22,
        "sent_from": "2026-11-28T11:40:00.000Z",
        "sent_until": "2026-11-28T11:50:00.000Z",
        "readers": 2,
    }
    assert second.to_json({}) == {"kind": "group", "open_conversation_id": "cid2", "messages": 1}


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        ("0001-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
        # Some hours later there is no such time east of Greenwich.
        ("9999-12-31T23:59:59Z", "9999-12-30T00:00:00.000Z"),
    ],
)
def test_a_time_that_no_clock_shows_breaks_nothing(moment: str, shown: str) -> None:
    [found] = by_conversation([sent("a", sent_at=moment)])
    assert found.to_json({})["sent_from"] == shown
    assert found.line(NOON, {}).startswith("group messages in cid1: 1 to")


def test_the_first_texts_are_named_once_each() -> None:
    receipts = [
        sent(f"{number}", text=text) for number, text in enumerate(["one", "one", None, "two", "three", "four"])
    ]
    [found] = by_conversation(receipts)
    assert found.to_json({})["texts"] == ["one", "two", "three"]
    assert found.line(NOON, {}).startswith("group messages in cid1 “one” “two” “three”: 6 to")


def test_messages_and_people_are_counted_apart() -> None:
    assert people_in_words([sent("a", recipients=20), sent("b", recipients=0)]) == "20 people"
    assert people_in_words([sent("a", recipients=20), sent("b")]) == "20 people at least"
    assert people_in_words([]) == "an unknown number of people"


def test_receipts_name_the_beginning_of_a_message_without_secrets() -> None:
    mask_secret("open-sesame-2026")
    text = f"The password is open-sesame-2026, {'x' * 40}"
    assert shown_text(send_requests(Kind.GROUP, text=text)) == f"The password is ***, {'x' * 19}"
    assert shown_text([]) is None
