"""Errors of this package as errors of Airflow."""

from __future__ import annotations

import pytest

from airflow_provider_dingtalk.exceptions import DingTalkError
from airflow_provider_dingtalk.task.errors import airflow_errors
from airflow_provider_dingtalk.version_compat import AirflowFailException


def test_a_permanent_error_is_one_that_airflow_does_not_retry() -> None:
    error = DingTalkError("The key is unknown.", code="unknown", permanent=True)
    with pytest.raises(AirflowFailException, match=r"The key is unknown\.") as raised, airflow_errors():
        raise error
    # Airflow logs the frames of both, after the report of a recall.
    assert raised.value.__cause__ is error
    assert error.__traceback__ is None


@pytest.mark.parametrize("error", [DingTalkError("Later.", code="later", permanent=False), KeyError("key")])
def test_other_errors_pass_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, airflow_errors():
        raise error
    assert raised.value is error
