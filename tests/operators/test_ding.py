"""Operators for DINGs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_dingtalk.operators import DingTalkRecallDingOperator
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from tests.support.airflow_seams import context
from tests.support.connections import Connect
from tests.support.operators import BadInput, check_refused, numbered, send_ding

pytestmark = pytest.mark.usefixtures("hook")


BAD_DING: BadInput = [
    (lambda: DingTalkRecallDingOperator(task_id="t", open_ding_ids="d"), "open_ding_ids"),
    (lambda: DingTalkRecallDingOperator(task_id="t", open_ding_ids=["d", ""]), "open_ding_ids[1]"),
    (lambda: send_ding(text=""), "text"),
    (lambda: send_ding(text=None), "text"),
    (lambda: send_ding(text=5), "text"),
    (lambda: send_ding(text=None, content=5), "content"),
    (lambda: send_ding(text="hello", content="hello"), "content"),
    (lambda: send_ding(remind_type="fax"), "remind_type"),
    (lambda: send_ding(remind_type=["app"]), "remind_type"),
    (lambda: send_ding(remind_type=1), "remind_type"),
    (lambda: send_ding(user_ids={}), "user_ids"),
]


@pytest.mark.parametrize("name", ["text", "content"])
def test_text_of_a_ding_has_a_former_name(sandbox: SandboxServer, name: str) -> None:
    ding = send_ding(**{"text": None, name: "hello {{ name }}"})
    ding.render_template_fields({"name": "Zhang"})
    assert len(ding.execute(context())) == 1
    assert [message["text"] for message in sandbox.snapshot()["messages"]] == ["hello Zhang"]


@pytest.mark.parametrize(**numbered(BAD_DING))
def test_bad_input_of_ding_fails_for_good_by_the_name_of_the_field_before_the_first_call(
    sandbox: SandboxServer, connect: Connect, make: Callable[[], Any], field: str
) -> None:
    check_refused(sandbox, connect, make, field)
