"""Operators for private-chat messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from tests.support.connections import Connect
from tests.support.operators import BadInput, check_refused, numbered, send_private

pytestmark = pytest.mark.usefixtures("hook")


BAD_PRIVATE_CHAT: BadInput = [
    (lambda: send_private(cool_app_code=None), "cool_app_code"),
    (lambda: send_private(cool_app_code=" "), "cool_app_code"),
]


@pytest.mark.parametrize(**numbered(BAD_PRIVATE_CHAT))
def test_bad_input_of_private_chat_fails_for_good_by_the_name_of_the_field_before_the_first_call(
    sandbox: SandboxServer, connect: Connect, make: Callable[[], Any], field: str
) -> None:
    check_refused(sandbox, connect, make, field)
