"""Hook as tasks use it."""

from __future__ import annotations

import inspect

import pytest

from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.task.hook_protocol import Hook


@pytest.mark.parametrize("name", ["run", "run_by_connection"])
def test_the_hook_takes_what_tasks_pass(name: str) -> None:
    expected, offered = (inspect.signature(getattr(owner, name)).parameters for owner in (Hook, DingTalkHook))
    assert list(offered) == list(expected)
    assert [one.default for one in offered.values()] == [one.default for one in expected.values()]


def test_no_method_of_the_protocol_is_left_out_above() -> None:
    methods = {name for name, value in vars(Hook).items() if inspect.isfunction(value) and not name.startswith("_")}
    assert methods == {"run", "run_by_connection"}
