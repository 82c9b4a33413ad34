"""The tree of exceptions: its families, pickling, texts, and which errors are permanent."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

from airflow_provider_dingtalk import exceptions
from airflow_provider_dingtalk.exceptions import (
    ConnectionFailedError,
    DingTalkError,
    InvalidInputError,
    NoResponseError,
    OutcomeUnknownError,
    ResponseError,
    ThrottlingError,
    shown,
    without_frames,
)

TREE = [cls for _, cls in inspect.getmembers(exceptions, inspect.isclass) if issubclass(cls, DingTalkError)]


def example_of(cls: type[DingTalkError]) -> DingTalkError:
    if issubclass(cls, InvalidInputError):
        return cls("keys", "is empty")
    details: dict[str, Any] = {
        "code": "some.code",
        "next_step": "Do this.",
        "next_step_zh": "这样做。",
        "message_zh": "出错。",
    }
    if issubclass(cls, ResponseError):
        details |= {"endpoint": "robot/some/api", "status_code": 403, "request_id": "R1"}
    if issubclass(cls, ThrottlingError):
        details["retry_after"] = 7.5
    return cls("what happened", permanent=True, **details)


def below(parent: type[DingTalkError]) -> set[str]:
    return {cls.__name__ for cls in TREE if issubclass(cls, parent)}


def test_calls_in_doubt_are_one_family() -> None:
    assert below(OutcomeUnknownError) == {
        "OutcomeUnknownError",
        "NoResponseError",
        "UnexpectedResponseError",
        "UnexpectedHtmlError",
    }


def test_failed_connection_is_no_doubt_and_no_response() -> None:
    assert below(ConnectionFailedError) == {"ConnectionFailedError"}
    assert ConnectionFailedError.__bases__ == (DingTalkError,)


def test_codes_of_dingtalk_are_one_family() -> None:
    assert {"BannedError", "ThrottlingError", "ServerError", "InvalidKeyError"} < below(ResponseError)
    assert not below(ResponseError) & below(OutcomeUnknownError)


def test_bad_input_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match="keys: is empty"):
        raise InvalidInputError("keys", "is empty")


@pytest.mark.parametrize("cls", TREE)
def test_error_survives_pickling_and_copying(cls: type[DingTalkError]) -> None:
    error = example_of(cls)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is cls
        assert (str(twin), twin.args, twin.__dict__) == (str(error), error.args, error.__dict__)


@pytest.mark.parametrize("cls", TREE)
def test_text_of_an_error_holds_its_next_step(cls: type[DingTalkError]) -> None:
    error = example_of(cls)
    assert error.message in str(error)
    assert error.next_step in str(error) and error.next_step_zh in str(error)
    assert len(str(error)) > 10


@pytest.mark.parametrize(
    ("option", "text"),
    [("en", "Refused. Do this."), ("zh", "Refused. 这样做。"), ("both", "Refused. Do this. 这样做。")],
)
def test_next_step_has_the_language_of_the_option(monkeypatch: pytest.MonkeyPatch, option: str, text: str) -> None:
    monkeypatch.setenv("AIRFLOW__DINGTALK__LANGUAGE", option)
    error = DingTalkError("Refused.", next_step="Do this.", next_step_zh="这样做。")
    assert str(error) == f"Refused. {error.advice}" == text


@pytest.mark.parametrize(
    ("option", "text", "problem"),
    [
        ("en", "Refused. Do this.", "--keys: holds no key"),
        ("zh", "被拒绝。这样做。", "--keys：没有消息 ID"),
        ("both", "Refused. Do this. 被拒绝。这样做。", "--keys: holds no key / --keys：没有消息 ID"),
    ],
)
def test_an_error_has_the_language_of_the_option(
    monkeypatch: pytest.MonkeyPatch, option: str, text: str, problem: str
) -> None:
    monkeypatch.setenv("AIRFLOW__DINGTALK__LANGUAGE", option)
    error = DingTalkError("Refused.", message_zh="被拒绝。", next_step="Do this.", next_step_zh="这样做。")
    assert (str(error), error.message) == (text, "Refused.")
    assert str(InvalidInputError("--keys", "holds no key", "没有消息 ID")) == problem


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("en", "Nothing was done."),
        ("zh", "未执行任何操作。"),
        ("both", "Nothing was done. 未执行任何操作。"),
    ],
)
def test_an_error_without_arguments_has_the_chinese_text_of_the_table(
    monkeypatch: pytest.MonkeyPatch, option: str, text: str
) -> None:
    monkeypatch.setenv("AIRFLOW__DINGTALK__LANGUAGE", option)
    assert str(DingTalkError("Nothing was done.")) == text


def test_permanent_are_those_that_another_try_cannot_mend() -> None:
    temporary = {cls.__name__ for cls in TREE if not cls.permanent}
    assert temporary == {
        "DingTalkError",
        "ConnectionFailedError",
        "OutcomeUnknownError",
        "NoResponseError",
        "UnexpectedResponseError",
        "UnexpectedHtmlError",
        "IncompleteSendError",
        "IncompleteRecallError",
        "CheckpointError",
        "SupersededError",
        "AirflowUnreachableError",
        "DeclinedError",
        "ResponseError",
        "ThrottlingError",
        "BannedError",
        "StatusUnavailableError",
        "PartialRecallError",
        "ServerError",
    }
    assert NoResponseError("x", permanent=True).permanent and not NoResponseError("x").permanent


def test_without_frames_drops_all_that_holds_locals() -> None:
    try:
        try:
            raise KeyError("secret")
        except KeyError as cause:
            raise ResponseError("refused", code="c") from cause
    except ResponseError as error:
        bare = without_frames(error)
    assert (bare.__traceback__, bare.__cause__, bare.__context__) == (None, None, None)


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("value", "text"),
    [("x" * 50, repr("x" * 40)), (7, "'7'"), (10**5000, "of type int"), (Unprintable(), "of type Unprintable")],
    ids=["long", "number", "huge", "unprintable"],
)
def test_shown_is_short_for_any_value(value: Any, text: str) -> None:
    assert shown(value) == text
