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

_BYTES = (bytes, bytearray, memoryview)


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
    _check_only_one(text=text, markdown=markdown, msg_key=msg_key)
    _check_owner("msg_param", msg_param, "msg_key", msg_key)
    _check_owner("title", title, "markdown", markdown)
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
    _check_only_one(text=text, markdown=markdown, msg=msg)
    _check_owner("title", title, "markdown", markdown)
    if text:
        body: dict[str, Any] = {"msgtype": "text", "text": {"content": text}}
    elif markdown:
        body = {"msgtype": "markdown", "markdown": {"title": title or _first_line(markdown), "text": markdown}}
    else:
        body = _object("msg", msg)
    if not isinstance(body.get("msgtype"), str) or not isinstance(body.get(body["msgtype"]), Mapping):
        raise InvalidInputError("msg", "needs a msgtype, and an object under the name of that type")
    decoded: dict[str, Any] = msgspec.json.decode(_encoded("msg", body, MAX_WORK_NOTIFICATION_BYTES))
    return decoded


def _is_given(value: Any) -> bool:
    """Return False for None, an empty text or collection, and 0."""
    try:
        return bool(value)
    except (TypeError, ValueError):
        # An array of a library is neither true nor false, and no content either: the checks of its type refuse it.
        return True


def _check_only_one(**contents: Any) -> None:
    given = [name for name, value in contents.items() if _is_given(value)]
    if len(given) != 1:
        raise InvalidInputError("text", f"give one of {', '.join(contents)}; got {' and '.join(given) or 'none'}")


def _check_owner(field: str, value: Any, owner: str, given: Any) -> None:
    """Refuse an argument without the argument that it belongs to."""
    if _is_given(value) and not given:
        raise InvalidInputError(field, f"belongs to {owner}, which is not given: it would not be sent")


def _message(msg_key: str, params: dict[str, Any]) -> Message:
    missing = [name for name in MSG_PARAMS.get(msg_key, ()) if not _is_given(params.get(name))]
    if missing:
        raise InvalidInputError("msg_param", f"{msg_key} needs {', '.join(missing)}")
    encoded = _encoded("msg_param", params, MAX_MSG_PARAM_BYTES, " (documented for groups)")
    return Message(msg_key=msg_key, msg_param=encoded.decode())


def _object(field: str, value: Mapping[str, Any] | str | None) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(plain(value))
        except (msgspec.DecodeError, RecursionError, ValueError):
            raise InvalidInputError(field, "is a string that is not JSON; give an object (dict)") from None
    if not isinstance(value, Mapping):
        problem = (
            "is missing; give an object (dict)" if value is None else f"must be an object, not {type(value).__name__}"
        )
        raise InvalidInputError(field, problem)
    return dict(value)


def _encoded(field: str, value: dict[str, Any], max_bytes: int, note: str = "") -> bytes:
    try:
        built_in = msgspec.to_builtins(value, builtin_types=_BYTES, enc_hook=_built_in)
        # msgspec would encode NaN as null and bytes as Base64.
        json.dumps(built_in, allow_nan=False)
        encoded = msgspec.json.encode(built_in)
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise InvalidInputError(field, "holds something that JSON has no form for") from None
    if len(encoded) > max_bytes:
        raise InvalidInputError(field, f"is {len(encoded)} bytes of JSON; DingTalk takes {max_bytes}{note}")
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
        hint = ": quote it, or set render_template_as_native_obj=False if a template made it"
        is_rendered = isinstance(value, bool | int | float | tuple)
        raise InvalidInputError(field, f"must be text, not {kind}{hint if is_rendered else ''}")
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
