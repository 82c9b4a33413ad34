"""Messages to chats of two people."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.messages.private_chat import TYPE


@pytest.mark.parametrize("given", [{}, {"cool_app_code": None}, {"cool_app_code": ""}])
def test_a_cool_app_is_required(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="cool_app_code"):
        TYPE.send_requests(open_conversation_id="a", robot_code="robot", text="hi", **given)


def test_each_chat_has_its_own_call() -> None:
    some = TYPE.send_requests(open_conversation_id=["a", "b"], robot_code="robot", cool_app_code="app", text="hi")
    assert [(request.to, request.call.cool_app_code) for request in some] == [(("a",), "app"), (("b",), "app")]
