"""The tree of exceptions: as drawn, with codes and next steps, and picklable."""

from __future__ import annotations

import inspect
import pickle
import re
from typing import Any

import pytest

from airflow_provider_dingtalk import exceptions
from airflow_provider_dingtalk.exceptions import (
    DingTalkError,
    InvalidInputError,
    NoResponseError,
    ResponseError,
    ThrottlingError,
)

TREE = [cls for _, cls in inspect.getmembers(exceptions, inspect.isclass) if issubclass(cls, DingTalkError)]


def _drawn() -> dict[str, str]:
    """Parent by name, as the module's docstring draws them."""
    drawn: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in (exceptions.__doc__ or "").splitlines():
        found = re.match(r"    ((?:[│├└─ ]*))([A-Z]\w+Error)\b", line)
        if not found:
            continue
        depth, name = len(found[1]), found[2]
        while path and path[-1][0] >= depth:
            path.pop()
        drawn[name] = path[-1][1] if path else ""
        path.append((depth, name))
    return drawn


def test_drawing_of_the_tree_is_the_tree() -> None:
    real = {cls.__name__: cls.__bases__[0].__name__ for cls in TREE}
    real["DingTalkError"] = ""
    assert _drawn() == real


def test_bad_input_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match="keys: is empty"):
        raise InvalidInputError("keys", "is empty")


def _made(cls: type[DingTalkError]) -> DingTalkError:
    if issubclass(cls, InvalidInputError):
        return cls("keys", "is empty")
    details: dict[str, Any] = {"code": "some.code", "next_step": "Do this.", "next_step_zh": "这样做。"}
    if issubclass(cls, ResponseError):
        details |= {"endpoint": "robot/some/api", "status_code": 403, "request_id": "R1"}
    if issubclass(cls, ThrottlingError):
        details["retry_after"] = 7.5
    return cls("what happened", permanent=True, **details)


@pytest.mark.parametrize("cls", TREE)
def test_error_survives_pickling(cls: type[DingTalkError]) -> None:
    error = _made(cls)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert (str(copy), copy.args, copy.__dict__) == (str(error), error.args, error.__dict__)


@pytest.mark.parametrize("cls", TREE)
def test_text_of_an_error_holds_its_next_step(cls: type[DingTalkError]) -> None:
    error = _made(cls)
    assert error.message in str(error)
    assert error.next_step in str(error) and error.next_step_zh in str(error)
    assert len(str(error)) > 10


def test_permanent_are_those_that_another_try_cannot_mend() -> None:
    temporary = {cls.__name__ for cls in TREE if not cls.permanent}
    assert temporary == {
        "DingTalkError",
        "ConnectionFailedError",
        "OutcomeUnknownError",
        "NoResponseError",
        "UnexpectedResponseError",
        "UnexpectedHtmlError",
        "ResponseError",
        "ThrottlingError",
        "BannedError",
        "StatusUnavailableError",
        "PartialRecallError",
        "ServerError",
        "IncompleteSendError",
        "IncompleteRecallError",
        "CheckpointError",
        "SupersededError",
        "AirflowUnreachableError",
        "DeclinedError",
    }
    assert NoResponseError("x", permanent=True).permanent and not NoResponseError("x").permanent
