"""Arguments of sends: refused by name, or split into requests."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.messages.message_types import send_requests_for
from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.messages.send_request import first_line
from tests.support.arrays import Array
from tests.support.local_dingtalk import ALL_KINDS
from tests.support.sends import PLAIN, send_requests

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("value", [20261128, 4.2, (1, 234), True])
@pytest.mark.parametrize(("kind", "field"), [
    (Kind.GROUP, "text"), (Kind.WORK_NOTIFICATION, "text"), (Kind.DING, "text"),
])  # fmt: skip
def test_a_text_that_native_rendering_made_a_number_is_told_so(kind: Kind, field: str, value: Any) -> None:
    with pytest.raises(InvalidInputError, match=f"{field}: must be text.*render_template_as_native_obj=False"):
        send_requests(kind, **{field: value})


@pytest.mark.parametrize(("kind", "field"), [(Kind.GROUP, "text"), (Kind.OTO, "text"), (Kind.DING, "text")])
def test_a_blank_text_is_refused(kind: Kind, field: str) -> None:
    with pytest.raises(InvalidInputError, match=f"{field}: is blank"):
        send_requests(kind, **{field: " \n"})


def test_one_department_needs_no_list() -> None:
    (send_request,) = send_requests(Kind.WORK_NOTIFICATION, user_ids=None, dept_ids=1)
    assert send_request.to == ("1",)


# ── Send requests ────────────────────────────────────────────────────────────────────────────────────

WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("group", {"open_conversation_id": None}, "open_conversation_id"),
    ("group", {"open_conversation_id": "None"}, "open_conversation_id"),
    ("group", {"open_conversation_id": []}, "open_conversation_id"),
    ("group", {"open_conversation_id": "[]"}, "open_conversation_id"),
    ("group", {"open_conversation_id": ""}, "open_conversation_id[0]"),
    ("group", {"open_conversation_id": 5}, "open_conversation_id"),
    ("group", {"open_conversation_id": {"a": 1}}, "open_conversation_id"),
    ("group", {"open_conversation_id": "[1"}, "open_conversation_id"),
    ("group", {"open_conversation_id": ["ok", " "]}, "open_conversation_id[1]"),
    ("group", {"robot_code": None}, "robot_code"),
    ("group", {"robot_code": 7}, "robot_code"),
    ("group", {"robot_code": " "}, "robot_code"),
    ("group", {"cool_app_code": ""}, "cool_app_code"),
    ("group", {"text": None}, "text"),
    ("group", {"text": ""}, "text"),
    ("group", {"markdown": "# both"}, "text"),
    ("group", {"text": None, "msg_key": "sampleText"}, "msg_param"),
    ("group", {"text": None, "msg_key": "sampleText", "msg_param": "no JSON"}, "msg_param"),
    ("group", {"text": None, "msg_key": "sampleText", "msg_param": "[]"}, "msg_param"),
    ("group", {"text": None, "msg_key": "sampleText", "msg_param": {}}, "msg_param"),
    ("group", {"text": None, "msg_key": "sampleText", "msg_param": {"content": object()}}, "msg_param"),
    ("group", {"text": "x" * 20_000}, "msg_param"),
    ("group", {"colour": "blue"}, "colour"),
    ("oto", {"user_ids": None}, "user_ids"),
    ("oto", {"user_ids": "None"}, "user_ids"),
    ("oto", {"user_ids": [1]}, "user_ids[0]"),
    ("oto", {"user_ids": ["a,b"]}, "user_ids"),
    ("oto", {"user_ids": "a,b"}, "user_ids"),
    ("oto", {"user_ids": ["a\nb"]}, "user_ids[0]"),
    ("oto", {"user_ids": (user for user in "ab")}, "user_ids"),
    ("oto", {"one_receipt_per_user": "False"}, "one_receipt_per_user"),
    ("oto", {"one_receipt_per_user": Array()}, "one_receipt_per_user"),
    ("oto", {"robot_code": None}, "robot_code"),
    ("private_chat", {"cool_app_code": None}, "cool_app_code"),
    ("private_chat", {"open_conversation_id": None}, "open_conversation_id"),
    ("work_notification", {"agent_id": None}, "agent_id"),
    ("work_notification", {"agent_id": "robot"}, "agent_id"),
    ("work_notification", {"agent_id": True}, "agent_id"),
    ("work_notification", {"user_ids": None}, "user_ids"),
    ("work_notification", {"user_ids": []}, "user_ids"),
    ("work_notification", {"to_all_user": True}, "user_ids"),
    ("work_notification", {"to_all_user": "False"}, "to_all_user"),
    ("work_notification", {"to_all_user": Array()}, "to_all_user"),
    ("work_notification", {"dept_ids": ["sales"]}, "dept_ids[0]"),
    ("work_notification", {"dept_ids": [True]}, "dept_ids[0]"),
    ("work_notification", {"dept_ids": 1.5}, "dept_ids"),
    ("work_notification", {"text": None, "msg": {"text": {"content": "x"}}}, "msg"),
    ("work_notification", {"text": None, "msg": {"msgtype": "text"}}, "msg"),
    ("work_notification", {"text": None, "msg": "{"}, "msg"),
    ("work_notification", {"text": "x" * 3_000}, "msg"),
    ("ding", {"text": ""}, "text"),
    ("ding", {"text": None}, "text"),
    ("ding", {"text": 5}, "text"),
    ("ding", {"text": None, "content": ""}, "content"),
    ("ding", {"text": None, "content": 5}, "content"),
    ("ding", {"content": "the former name, and the new one"}, "content"),
    ("ding", {"remind_type": "pigeon"}, "remind_type"),
    ("ding", {"remind_type": 3}, "remind_type"),
    ("ding", {"remind_type": ["app"]}, "remind_type"),
    ("ding", {"user_ids": []}, "user_ids"),
    ("ding", {"robot_code": None}, "robot_code"),
    ("ding", {"call_voice": 5}, "call_voice"),
]


@pytest.mark.parametrize(("kind", "changes", "field"), WRONG)
def test_a_wrong_argument_is_refused_by_its_name(kind: str, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        send_requests(Kind(kind), **changes)
    assert refusal.value.field == field
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_missing_argument_is_refused_by_its_name(kind: Kind) -> None:
    needed = {name for name in PLAIN[kind] if name not in ("text", "user_ids") or kind is Kind.OTO} - {"text"}
    for name in needed:
        arguments = {given: value for given, value in PLAIN[kind].items() if given != name}
        with pytest.raises(InvalidInputError) as refusal:
            send_requests_for(kind, **arguments)
        assert refusal.value.field == name


@pytest.mark.parametrize("kind", ["pigeon", "", None, 5, [], {}])
def test_an_unknown_kind_is_refused(kind: Any) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        send_requests_for(kind)
    assert refusal.value.field == "kind"


@pytest.mark.parametrize("user_ids", ["user001", ["user001"], ("user001", "user001"), '["user001"]', {"user001"}])
def test_people_come_as_one_or_many_and_each_once(user_ids: Any) -> None:
    (send_request,) = send_requests(Kind.OTO, user_ids=user_ids)
    assert send_request.to == ("user001",)


# ── first lines ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ({"text": "\n  Revenue of today\n7 yuan"}, "Revenue of today"),
        ({"text": None, "markdown": "## Revenue\n\n**7** yuan"}, "Revenue"),
        ({"text": None, "markdown": "## Revenue", "title": "Figures"}, "Figures"),
        ({"text": None, "msg_key": "sampleImageMsg", "msg_param": {"photoURL": "https://example.com"}}, None),
        ({"text": None, "msg_key": "ours", "msg_param": {"title": 5, "text": ["a"]}}, None),
        ({"text": '{"title": "a text that looks like JSON"}'}, '{"title": "a text that looks like JSON"}'),
    ],
)
def test_a_message_has_a_title_a_first_line_or_neither(content: dict[str, Any], shown: str | None) -> None:
    assert first_line(send_requests(Kind.GROUP, **content)) == shown


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_the_first_line_is_known_of_each_kind(kind: Kind) -> None:
    assert first_line(send_requests(kind, text="7")) == "7"


def test_of_different_messages_there_is_no_first_line() -> None:
    assert first_line([*send_requests(Kind.OTO), *send_requests(Kind.OTO, text="another")]) is None
    assert first_line([]) is None
