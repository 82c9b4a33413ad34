"""Content of alerts, fitted to DingTalk's limits: a shortened alert is better than a lost one."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_dingtalk.client.content import check_text, robot_message, work_notification_message
from airflow_provider_dingtalk.client.endpoints import MAX_MSG_PARAM_BYTES, MAX_WORK_NOTIFICATION_BYTES
from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.language import choose
from airflow_provider_dingtalk.messages.receipt import Kind

#: Maximum bytes of a DING. DingTalk documents no limit, so this is the lowest limit of the other kinds.
MAX_DING_BYTES = MAX_WORK_NOTIFICATION_BYTES
#: Arguments of sends that hold texts, and those that hold objects with texts in them.
TEXTS, OBJECTS = ("text", "title", "markdown", "content"), ("msg_param", "msg")
#: Control characters without line breaks and tabs.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
#: Address at the end of a text, with the beginning of its Markdown link.
_CUT_LINK = re.compile(r"(?:!?\[([^\[\]\n]*)\]\()?https?://[^\s()]{0,2000}\Z")


def fit(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Replace odd characters in the content of a message, and shorten its longest texts to DingTalk's limit.

    :param content: Arguments of a send of the kind that are about its content.
    :raises InvalidInputError: If the content is invalid for another reason.
    """
    whole = {name: _changed(name, value, replace_odd_characters) for name, value in content.items()}
    problem = _problem(kind, whole)
    if problem is None:
        return whole

    def cut(most: int) -> dict[str, Any]:
        return {name: _changed(name, value, lambda text: shorten(text, most)) for name, value in whole.items()}

    # No limit is over 15,000 bytes, so no text that fits has more characters.
    too_long = bisect_left(range(MAX_MSG_PARAM_BYTES + 1), True, key=lambda most: _problem(kind, cut(most)) is not None)
    if not too_long:
        raise problem
    return cut(too_long - 1)


def shorten(text: str, most: int) -> str:
    """Cut a text to a number of characters, the mark at its end included; it is never shorter than the mark.

    A link that would be cut is left out, because it would lead elsewhere; the text of a Markdown link stays.
    """
    end = mark()
    most = max(most, len(end))
    if len(text) <= most:
        return text
    return _CUT_LINK.sub(r"\1", text[: most - len(end)]) + end


def mark() -> str:
    """Return the end of a shortened text, in the language of the option."""
    return f"…{choose(' (shortened)', '（已截断）')}"


def replace_odd_characters(text: str) -> str:
    """Replace halves of surrogate pairs and control characters, which DingTalk may refuse, by U+FFFD."""
    return _CONTROLS.sub("\ufffd", text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def _problem(kind: str, content: dict[str, Any]) -> InvalidInputError | None:
    try:
        if kind == Kind.DING:
            _check_ding(**content)
        elif kind == Kind.WORK_NOTIFICATION:
            work_notification_message(**content)
        else:
            robot_message(**content)
    except InvalidInputError as error:
        return error
    return None


def _check_ding(**texts: Any) -> None:
    if len(texts) > 1:
        raise InvalidInputError("content", "is the former name of text; give only text")
    for name, text in texts.items():
        if len(check_text(text, name).encode()) > MAX_DING_BYTES:
            raise InvalidInputError(name, f"is longer than {MAX_DING_BYTES} bytes")


def _changed(name: str, value: Any, change: Callable[[str], str]) -> Any:
    """Return an argument with changed texts, also of the objects in it."""
    if name in TEXTS:
        return change(value) if isinstance(value, str) else value
    return _with_texts(_object(value), change) if name in OBJECTS else value


def _object(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def _with_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _with_texts(one, change) for name, one in value.items()}
    return [_with_texts(one, change) for one in value] if isinstance(value, list | tuple) else value
