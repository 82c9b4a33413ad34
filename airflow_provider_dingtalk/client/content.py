"""Message templates: ``msgKey`` and ``msgParam`` of robots, ``msg`` of work notifications.

Robots: https://open.dingtalk.com/document/development/robot-message-type
Work notifications: https://open.dingtalk.com/document/development/message-types-and-data-format
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from airflow_provider_dingtalk.client.endpoints import MAX_MSG_PARAM_BYTES, MAX_WORK_NOTIFICATION_BYTES
from airflow_provider_dingtalk.exceptions import InvalidInputError

#: Required parameters of each robot template. Unknown templates are not checked, because DingTalk may add some.
MSG_PARAMS: dict[str, tuple[str, ...]] = {
    "sampleText": ("content",),
    "sampleMarkdown": ("title", "text"),
    "sampleImageMsg": ("photoURL",),
    "sampleLink": ("text", "title", "picUrl", "messageUrl"),
    "sampleActionCard": ("title", "text", "singleTitle", "singleURL"),
    "sampleActionCard6": ("title", "text", "buttonTitle1", "buttonUrl1", "buttonTitle2", "buttonUrl2"),
    "sampleAudio": ("mediaId", "duration"),
    "sampleFile": ("mediaId", "fileName", "fileType"),
    "sampleVideo": ("duration", "videoMediaId", "videoType", "picMediaId", "height", "width"),
} | {
    f"sampleActionCard{buttons}": ("title", "text")
    + tuple(f"action{part}{number}" for number in range(1, buttons + 1) for part in ("Title", "URL"))
    for buttons in range(2, 6)
}


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Template name and parameters of a robot message.

    :param msg_key: Name of the template.
    :param msg_param: JSON object in a string.
    """

    msg_key: str
    msg_param: str


def robot_message(
    *,
    text: str | None = None,
    title: str | None = None,
    markdown: str | None = None,
    msg_key: str | None = None,
    msg_param: Mapping[str, Any] | str | None = None,
) -> Message:
    """Build a robot message from text, Markdown or a template.

    Give one of ``text``; ``markdown`` with optional ``title``; ``msg_key`` with ``msg_param``.

    :raises InvalidInputError: If none or several are given, an argument lacks its owner, a template parameter is
        missing, or ``msg_param`` has more than 15,000 bytes of JSON.
    """
    _check_texts(text=text, title=title, markdown=markdown, msg_key=msg_key)
    given = [name for name, value in (("text", text), ("markdown", markdown), ("msg_key", msg_key)) if value]
    if len(given) != 1:
        problem = "give one of text, markdown, msg_key; " + (f"got {' and '.join(given)}" if given else "got none")
        raise InvalidInputError("text", problem)
    _check_belongings(msg_param=(msg_param, "msg_key", msg_key), title=(title, "markdown", markdown))
    if text:
        return _message("sampleText", {"content": text})
    if markdown:
        return _message("sampleMarkdown", {"title": title or _first_line(markdown), "text": markdown})
    return _message(plain(msg_key or ""), _object("msg_param", msg_param))


def work_notification_message(
    *,
    text: str | None = None,
    title: str | None = None,
    markdown: str | None = None,
    msg: Mapping[str, Any] | str | None = None,
) -> dict[str, Any]:
    """Build the ``msg`` of a work notification.

    Give one of ``text``; ``markdown`` with optional ``title``; ``msg``.

    :raises InvalidInputError: If none or several of them are given, ``msgtype`` is missing, or the JSON has more
        than 2,048 bytes.
    """
    _check_texts(text=text, title=title, markdown=markdown)
    given = [name for name, value in (("text", text), ("markdown", markdown), ("msg", msg)) if value]
    if len(given) != 1:
        problem = "give one of text, markdown, msg; " + (f"got {' and '.join(given)}" if given else "got none")
        raise InvalidInputError("text", problem)
    _check_belongings(title=(title, "markdown", markdown))
    if text:
        body: dict[str, Any] = {"msgtype": "text", "text": {"content": text}}
    elif markdown:
        inner = {"title": title or _first_line(markdown), "text": markdown}
        body = {"msgtype": "markdown", "markdown": inner}
    else:
        body = _object("msg", msg)
    if not isinstance(body.get("msgtype"), str) or not isinstance(body.get(body["msgtype"]), Mapping):
        raise InvalidInputError("msg", "needs a msgtype, and an object under the name of that type")
    encoded = _encoded("msg", body)
    if (size := len(encoded)) > MAX_WORK_NOTIFICATION_BYTES:
        raise InvalidInputError("msg", f"is {size} bytes of JSON; DingTalk takes {MAX_WORK_NOTIFICATION_BYTES}")
    decoded: dict[str, Any] = msgspec.json.decode(encoded)
    return decoded


def _check_belongings(**given: tuple[Any, str, Any]) -> None:
    """Refuse an argument without its owner, because it would not be sent."""
    for name, (value, owner, owners) in given.items():
        if value and not owners:
            raise InvalidInputError(name, f"belongs to {owner}, which is not given: it would not be sent")


def _message(msg_key: str, params: dict[str, Any]) -> Message:
    missing = [name for name in MSG_PARAMS.get(msg_key, ()) if not params.get(name)]
    if missing:
        raise InvalidInputError("msg_param", f"{msg_key} needs {', '.join(missing)}")
    encoded = _encoded("msg_param", params)
    if len(encoded) > MAX_MSG_PARAM_BYTES:
        problem = f"is {len(encoded)} bytes of JSON; DingTalk takes {MAX_MSG_PARAM_BYTES} (documented for groups)"
        raise InvalidInputError("msg_param", problem)
    return Message(msg_key=msg_key, msg_param=encoded.decode())


def _object(field: str, value: Mapping[str, Any] | str | None) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(plain(value))
        except (msgspec.DecodeError, RecursionError, ValueError):
            raise InvalidInputError(field, "is a string that is not JSON") from None
    if not isinstance(value, Mapping):
        raise InvalidInputError(field, f"must be an object or JSON of one, not {type(value).__name__}")
    return dict(value)


def _encoded(field: str, value: dict[str, Any]) -> bytes:
    try:
        encoded = msgspec.json.encode(value, enc_hook=_built_in)
        # msgspec encodes NaN as null, so the value is checked again.
        if b"null" in encoded:
            json.dumps(msgspec.to_builtins(value, enc_hook=_built_in), allow_nan=False)
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise InvalidInputError(field, "holds something that JSON has no form for") from None
    return encoded


def plain(text: str) -> str:
    """Convert a str subclass to str, because msgspec accepts str only."""
    return str.__str__(text)


def _built_in(value: Any) -> Any:
    """Convert an instance of a subclass to its built-in type."""
    for kind in (str, int, float):
        if isinstance(value, kind):
            return getattr(kind, "__str__" if kind is str else f"__{kind.__name__}__")(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


def _check_texts(**values: Any) -> None:
    for field, value in values.items():
        if value is not None:
            check_text(value, field)


def check_text(value: Any, field: str) -> str:
    """Check that a value is text, and not only whitespace.

    :returns: The text as ``str``.
    :raises InvalidInputError: If it is not. The error names native rendering where that is the likely cause.
    """
    if not isinstance(value, str):
        kind = type(value).__name__
        hint = (
            f"; Airflow rendered a {kind}: set render_template_as_native_obj=False, or quote it"
            if isinstance(value, bool | int | float | tuple)
            else ""
        )
        raise InvalidInputError(field, f"must be text, not {kind}{hint}")
    if value and not value.strip():
        raise InvalidInputError(field, "is blank")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(field, "holds half a surrogate pair, which is not text") from None
    return plain(value)


def _first_line(markdown: str) -> str:
    # DingTalk refuses a message without a title, which it shows in the list of chats.
    lines = [line.strip("#>*- ") for line in markdown.splitlines()]
    return next((line for line in lines if line), "-")[:60]
