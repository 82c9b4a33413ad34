"""Content of alerts: what DingTalk refuses is shortened or replaced, and all else stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_dingtalk.client.content import robot_message, work_notification_message
from airflow_provider_dingtalk.client.endpoints import MAX_MSG_PARAM_BYTES, MAX_WORK_NOTIFICATION_BYTES
from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.language import VARIABLE
from airflow_provider_dingtalk.messages.alert import MAX_DING_BYTES, fit, mark, replace_odd_characters, shorten
from airflow_provider_dingtalk.messages.receipt import Kind
from tests.strategies import FUZZ

LIMITS = {
    "group": MAX_MSG_PARAM_BYTES,
    "oto": MAX_MSG_PARAM_BYTES,
    "private_chat": MAX_MSG_PARAM_BYTES,
    "work_notification": MAX_WORK_NOTIFICATION_BYTES,
    "ding": MAX_DING_BYTES,
}
#: Characters of one to four bytes, and some that JSON writes as two or six bytes.
CHARACTERS = ["x", "é", "长", "🚨", '"', "\\", "\n", "a长🚨"]
URL = "https://airflow.example.com/dags/revenue"
CARD = {"title": "Late", "text": "长" * 9_000, "singleTitle": "Open", "singleURL": URL}
OA = {"msgtype": "oa", "oa": {"message_url": URL, "body": {"title": "Late", "content": "长" * 900, "form": []}}}


def size(kind: str, content: dict[str, Any]) -> int:
    """Return the bytes that DingTalk's limit for a kind is about."""
    if kind == "ding":
        return len(content["text"].encode())
    if kind == "work_notification":
        return len(json.dumps(work_notification_message(**content), ensure_ascii=False, separators=(",", ":")).encode())
    return len(robot_message(**content).msg_param.encode())


def test_each_kind_has_a_limit() -> None:
    assert set(LIMITS) == set(Kind)


@pytest.mark.parametrize("character", CHARACTERS)
@pytest.mark.parametrize("kind", LIMITS)
def test_a_long_text_loses_no_more_than_it_must(kind: str, character: str) -> None:
    text = "Start: " + character * 20_000
    fitted = fit(kind, {"text": text})["text"]
    kept = fitted.removesuffix(mark())
    assert kept != fitted
    assert text.startswith(kept)
    longer = {"text": text[: len(kept) + 1] + mark()}
    assert size(kind, {"text": fitted}) <= LIMITS[kind]
    assert _is_too_long(kind, longer)


def _is_too_long(kind: str, content: dict[str, Any]) -> bool:
    try:
        return size(kind, content) > LIMITS[kind]
    except InvalidInputError as error:
        return "bytes" in str(error)


@pytest.mark.parametrize("kind", LIMITS)
def test_a_text_of_exactly_the_limit_stays_whole(kind: str) -> None:
    most = LIMITS[kind] - size(kind, {"text": "x"}) + 1
    assert fit(kind, {"text": "x" * most}) == {"text": "x" * most}
    assert fit(kind, {"text": "x" * (most + 1)})["text"].endswith(mark())


@pytest.mark.parametrize("kind", ["group", "work_notification"])
def test_markdown_is_shortened_and_its_title_stays(kind: str) -> None:
    fitted = fit(kind, {"title": "Late", "markdown": "# Late\n" + "*长*\n" * 9_000})
    assert fitted["title"] == "Late"
    assert fitted["markdown"].startswith("# Late\n*长*") and fitted["markdown"].endswith(mark())


@pytest.mark.parametrize("given", [CARD, json.dumps(CARD)], ids=["object", "JSON"])
def test_only_the_long_text_of_a_template_is_shortened(given: Any) -> None:
    fitted = fit("group", {"msg_key": "sampleActionCard", "msg_param": given})
    text = fitted["msg_param"].pop("text")
    assert text.endswith(mark()) and len(text) > 4_900
    assert fitted == {"msg_key": "sampleActionCard", "msg_param": {name: CARD[name] for name in CARD if name != "text"}}


def test_only_the_long_text_of_a_work_notification_is_shortened() -> None:
    fitted = fit("work_notification", {"msg": OA})["msg"]
    content = fitted["oa"]["body"].pop("content")
    assert content.endswith(mark()) and len(content) > 550
    assert fitted == {"msgtype": "oa", "oa": {"message_url": URL, "body": {"title": "Late", "form": []}}}


def test_a_short_content_stays_as_it_is() -> None:
    for kind, content in {
        "group": {"title": "Late", "markdown": "**1**\tline\r\nnext 👨‍👩‍👧"},
        "oto": {"msg_key": "sampleImageMsg", "msg_param": {"photoURL": URL}},
        "work_notification": {"msg": {"msgtype": "text", "text": {"content": "x"}}},
        "ding": {"content": "x"},
    }.items():
        assert fit(kind, content) == content


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\ud83db", "a\ufffdb"),
        ("\udea8", "\ufffd"),
        ("\ud83d\udea8", "🚨"),
        ("nul \0, escape \x1b[31m, delete \x7f, next line \x85", "nul �, escape �[31m, delete �, next line �"),
        ("tab\tand\r\nlines", "tab\tand\r\nlines"),
        ("\ufeffmark", "\ufeffmark"),
    ],
)
def test_odd_characters_are_replaced(text: str, expected: str) -> None:
    assert replace_odd_characters(text) == expected


def test_odd_characters_deep_in_a_template_are_replaced() -> None:
    card = json.dumps({"title": "\ud800", "text": "\0", "singleTitle": "\udfff", "singleURL": URL})
    fitted = fit("group", {"msg_key": "sampleActionCard", "msg_param": card})
    assert fitted["msg_param"] == {"title": "�", "text": "�", "singleTitle": "�", "singleURL": URL}


@FUZZ
@given(
    st.sampled_from(sorted(LIMITS)),
    st.text(st.characters(exclude_categories=()), min_size=1, max_size=40),
    st.sampled_from([1, 60, 4_000]),
)
def test_any_text_fits(kind: str, text: str, times: int) -> None:
    text = f"!{text}" * times
    fitted = fit(kind, {"text": text})
    assert size(kind, fitted) <= LIMITS[kind]
    assert fitted["text"] == replace_odd_characters(text) or fitted["text"].endswith(mark())


@pytest.mark.parametrize(
    ("kind", "content", "problem"),
    [
        ("group", {"text": "a" * 20_000, "markdown": "b"}, "text: give one of"),
        ("oto", {"msg_key": "sampleText", "msg_param": "{" * 20_000}, "msg_param: is a string that is not JSON"),
        ("private_chat", {"text": 7}, "text: must be text, not int"),
        ("ding", {"text": " "}, "text: is blank"),
        ("work_notification", {"msg": {"msgtype": "oa", "oa": {"form": [{"key": 1}] * 900}}}, "msg: is .* bytes"),
    ],
)
def test_what_no_cut_mends_is_refused(kind: str, content: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{problem}"):
        fit(kind, content)


@pytest.mark.parametrize(
    ("option", "end"), [("en", "… (shortened)"), ("zh", "…（已截断）"), ("both", "… (shortened) （已截断）")]
)
def test_the_mark_is_in_the_language_of_the_option_and_no_text_is_shorter(
    monkeypatch: pytest.MonkeyPatch, option: str, end: str
) -> None:
    monkeypatch.setenv(VARIABLE, option)
    shortened = [shorten("x" * 99, most) for most in (0, len(end), len(end) + 2)]
    assert shortened == [end, end, f"xx{end}"]
    assert shorten("short", 0) == "short"


@pytest.mark.parametrize(
    ("text", "shortened"),
    [
        ("See [the log](https://a.example/dags/revenue) now", "See the log"),
        ("See ![the chart](https://a.example/chart.png) now", "See the chart"),
        ("See https://a.example/dags/revenue/runs/1", "See "),
        ("See [log](https://a.b) and then call once again", "See [log](https://a.b) and"),
        ("See [[[ only brackets (( and no link at all", "See [[[ only brackets (( a"),
    ],
)
def test_a_link_is_left_out_rather_than_cut(text: str, shortened: str, english: None) -> None:
    """A cut address leads elsewhere."""
    assert shorten(text, 26 + len(mark())) == shortened + mark()
