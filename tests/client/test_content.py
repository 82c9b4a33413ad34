"""Contents of robot messages and work notifications, validated before the send."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_dingtalk.client.content import MSG_PARAMS, robot_message, work_notification_message
from airflow_provider_dingtalk.client.endpoints import MAX_MSG_PARAM_BYTES, MAX_WORK_NOTIFICATION_BYTES
from airflow_provider_dingtalk.exceptions import InvalidInputError
from tests.support.arrays import Array

#: As listed on DingTalk's page robot-message-type.
TEMPLATES = {
    "sampleText": "content",
    "sampleMarkdown": "title text",
    "sampleImageMsg": "photoURL",
    "sampleLink": "text title picUrl messageUrl",
    "sampleActionCard": "title text singleTitle singleURL",
    "sampleActionCard2": "title text actionTitle1 actionURL1 actionTitle2 actionURL2",
    "sampleActionCard3": "title text actionTitle1 actionURL1 actionTitle2 actionURL2 actionTitle3 actionURL3",
    "sampleActionCard4": "title text actionTitle1 actionURL1 actionTitle2 actionURL2 actionTitle3 actionURL3 "
    "actionTitle4 actionURL4",
    "sampleActionCard5": "title text actionTitle1 actionURL1 actionTitle2 actionURL2 actionTitle3 actionURL3 "
    "actionTitle4 actionURL4 actionTitle5 actionURL5",
    "sampleActionCard6": "title text buttonTitle1 buttonUrl1 buttonTitle2 buttonUrl2",
    "sampleAudio": "mediaId duration",
    "sampleFile": "mediaId fileName fileType",
    "sampleVideo": "duration videoMediaId videoType picMediaId height width",
}
PARAMS = [(msg_key, name) for msg_key, names in TEMPLATES.items() for name in names.split()]


def _params(msg_key: str) -> dict[str, str]:
    return {name: f"value of {name}" for name in TEMPLATES[msg_key].split()}


def test_all_templates_of_the_page_are_known() -> None:
    assert set(MSG_PARAMS) == set(TEMPLATES)


@pytest.mark.parametrize("msg_key", TEMPLATES)
def test_template_with_all_its_parameters_is_taken_as_object_and_as_json(msg_key: str) -> None:
    as_object = robot_message(msg_key=msg_key, msg_param=_params(msg_key))
    as_json = robot_message(msg_key=msg_key, msg_param=json.dumps(_params(msg_key)))
    assert as_object == as_json
    assert (as_object.msg_key, json.loads(as_object.msg_param)) == (msg_key, _params(msg_key))


@pytest.mark.parametrize(("msg_key", "name"), PARAMS)
def test_missing_parameter_is_named(msg_key: str, name: str) -> None:
    params = _params(msg_key)
    del params[name]
    with pytest.raises(InvalidInputError, match=rf"^msg_param: {msg_key} needs {name}$"):
        robot_message(msg_key=msg_key, msg_param=params)
    with pytest.raises(InvalidInputError, match=rf"^msg_param: {msg_key} needs {name}$"):
        robot_message(msg_key=msg_key, msg_param=params | {name: ""})


def test_template_that_came_later_is_let_through() -> None:
    assert robot_message(msg_key="sampleNew", msg_param={"any": 1}).msg_param == '{"any":1}'


def test_text_and_markdown_choose_the_template() -> None:
    assert robot_message(text='say "你好"').msg_key == "sampleText"
    assert json.loads(robot_message(text='say "你好"').msg_param) == {"content": 'say "你好"'}
    message = robot_message(markdown="## Report\n\nall is well")
    assert message.msg_key == "sampleMarkdown"
    assert json.loads(message.msg_param) == {"title": "Report", "text": "## Report\n\nall is well"}


@pytest.mark.parametrize(
    ("markdown", "title"),
    [("\n\n> **Late**\nx", "Late"), ("###", "-"), ("x" * 100, "x" * 60), ("- item", "item")],
)
def test_title_of_markdown_is_its_first_line(markdown: str, title: str) -> None:
    assert json.loads(robot_message(markdown=markdown).msg_param)["title"] == title
    assert work_notification_message(markdown=markdown)["markdown"]["title"] == title


def test_given_title_wins() -> None:
    assert json.loads(robot_message(markdown="# A", title="B").msg_param)["title"] == "B"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"text": ""},
        {"text": "a", "markdown": "b"},
        {"text": "a", "msg_key": "sampleText"},
        {"markdown": "a", "msg_key": "sampleText", "msg_param": {}},
    ],
)
def test_robot_message_is_given_in_exactly_one_way(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="give one of text, markdown, msg_key"):
        robot_message(**given)


@pytest.mark.parametrize("given", [{}, {"text": "a", "msg": {"msgtype": "text"}}, {"text": "a", "markdown": "b"}])
def test_work_notification_is_given_in_exactly_one_way(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="give one of text, markdown, msg"):
        work_notification_message(**given)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"text": "a", "msg_param": {"content": "b"}}, "msg_param: belongs to msg_key"),
        ({"markdown": "a", "msg_param": '{"text": "b"}'}, "msg_param: belongs to msg_key"),
        ({"text": "a", "title": "b"}, "title: belongs to markdown"),
        ({"msg_key": "sampleText", "msg_param": {"content": "a"}, "title": "b"}, "title: belongs to markdown"),
    ],
)
def test_what_would_silently_not_be_sent_is_refused(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{problem}"):
        robot_message(**given)
    if "title" in given and "text" in given:
        with pytest.raises(InvalidInputError, match=f"^{problem}"):
            work_notification_message(**given)


BAD_OBJECTS = {
    "no JSON": "{'content': 'x'}",
    "cut": '{"content": "x"',
    "empty": "",
    "a list": '["content"]',
    "a string": '"content"',
    "null": "null",
    "nested too deeply": "[" * 100_000,
    "None": None,
    "a tuple": ("content",),
    "a number": 5,
    "an array": Array(),
    "half a surrogate pair": {"content": "\ud800"},
    "an object without JSON": {"content": object()},
    "an array without JSON": {"content": Array()},
    "a key without JSON": {"content": "x", ("a", "b"): "x"},
}


@pytest.mark.parametrize("value", BAD_OBJECTS.values(), ids=BAD_OBJECTS)
def test_what_is_no_object_in_json_is_refused_by_its_field(value: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"^msg_param: ") as caught:
        robot_message(msg_key="sampleText", msg_param=value)
    assert caught.value.field == "msg_param"


@pytest.mark.parametrize("name", [name for name in BAD_OBJECTS if name not in ("empty", "None")])
def test_work_notification_that_is_no_object_in_json_is_refused(name: str) -> None:
    value = BAD_OBJECTS[name]
    inner = value if isinstance(value, dict) else None
    msg = {"msgtype": "text", "text": inner} if inner else value
    with pytest.raises(InvalidInputError, match=r"^msg: "):
        work_notification_message(msg=msg)


def test_msg_param_may_have_15000_bytes_and_not_one_more() -> None:
    room = MAX_MSG_PARAM_BYTES - len('{"content":""}')
    assert len(robot_message(text="x" * room).msg_param) == MAX_MSG_PARAM_BYTES
    with pytest.raises(InvalidInputError, match="is 15001 bytes of JSON; DingTalk takes 15000"):
        robot_message(text="x" * (room + 1))


def test_limits_count_bytes_and_not_characters() -> None:
    with pytest.raises(InvalidInputError, match="DingTalk takes 15000"):
        robot_message(text="你" * (MAX_MSG_PARAM_BYTES // 2))
    with pytest.raises(InvalidInputError, match="DingTalk takes 2048"):
        work_notification_message(text="你" * (MAX_WORK_NOTIFICATION_BYTES // 2))


def test_work_notification_may_have_2048_bytes_and_not_one_more() -> None:
    room = MAX_WORK_NOTIFICATION_BYTES - len('{"msgtype":"text","text":{"content":""}}')
    assert work_notification_message(text="x" * room)["text"]["content"] == "x" * room
    with pytest.raises(InvalidInputError, match="is 2049 bytes of JSON"):
        work_notification_message(text="x" * (room + 1))


@pytest.mark.parametrize(
    "msg",
    [{}, {"text": {"content": "x"}}, {"msgtype": "text"}, {"msgtype": "text", "text": "x"}, {"msgtype": ["text"]}],
)
def test_work_notification_needs_a_type_and_an_object_under_it(msg: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=r"^(msg|text): "):
        work_notification_message(msg=msg)


def test_work_notification_is_taken_as_object_and_as_json() -> None:
    msg = {"msgtype": "link", "link": {"title": "t", "text": "x", "messageUrl": "u", "picUrl": "p"}}
    assert work_notification_message(msg=msg) == work_notification_message(msg=json.dumps(msg)) == msg
