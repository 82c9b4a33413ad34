"""Messages to groups."""

from __future__ import annotations

import pytest

from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.messages.group import TYPE


def test_each_group_has_its_own_call_once() -> None:
    some = TYPE.send_requests(open_conversation_id=["a", "b", "a"], robot_code="robot", text="hi")
    assert [request.to for request in some] == [("a",), ("b",)]
    assert len({request.content for request in some}) == 1, "it is one message"


@pytest.mark.parametrize("code", [None, "app"])
def test_a_cool_app_is_optional(code: str | None) -> None:
    (request,) = TYPE.send_requests(open_conversation_id="a", robot_code="robot", cool_app_code=code, text="hi")
    assert request.call.cool_app_code == code


def test_a_blank_cool_app_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="cool_app_code"):
        TYPE.send_requests(open_conversation_id="a", robot_code="robot", cool_app_code=" ", text="hi")
