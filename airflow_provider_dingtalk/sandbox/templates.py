"""Message templates of robots (``msgKey``, ``msgParam``), with codes for missing parts."""

from __future__ import annotations

from typing import Any

import msgspec

from airflow_provider_dingtalk.client.endpoints import MAX_MSG_PARAM_BYTES
from airflow_provider_dingtalk.sandbox.api_errors import ApiError

_CARD = {"title": "miss.param.actionCardTotitle", "text": "miss.param.actionCardTotext"}
_BUTTON_TITLE, _BUTTON_URL = "miss.param.actionCardTobtnsTotitle", "miss.param.actionCardTobtnsToactionUrl"


def _vertical(buttons: int) -> dict[str, str]:
    titles = {f"actionTitle{n}": _BUTTON_TITLE for n in range(1, buttons + 1)}
    return _CARD | titles | {f"actionURL{n}": _BUTTON_URL for n in range(1, buttons + 1)}


_HORIZONTAL = {f"buttonTitle{n}": _BUTTON_TITLE for n in (1, 2)} | {f"buttonUrl{n}": _BUTTON_URL for n in (1, 2)}

#: Required parts of each template, and DingTalk's code for their absence (documented, not observed).
TEMPLATES: dict[str, dict[str, str]] = {
    "sampleText": {"content": "miss.param.contentOfText"},
    "sampleMarkdown": {"title": "miss.param.markdownTotitle", "text": "miss.param.markdownTotext"},
    "sampleImageMsg": {"photoURL": "miss.param.photoTophotoUrl"},
    "sampleLink": {
        "text": "miss.param.textOfLink",
        "title": "miss.param.titleOfLink",
        "messageUrl": "miss.param.messageUrlOfLink",
    },
    "sampleActionCard": _CARD
    | {"singleTitle": "miss.param.actionCardTosingleTitle", "singleURL": "miss.param.actionCardTosingleUrl"},
    "sampleActionCard2": _vertical(2),
    "sampleActionCard3": _vertical(3),
    "sampleActionCard4": _vertical(4),
    "sampleActionCard5": _vertical(5),
    "sampleActionCard6": _CARD | _HORIZONTAL,
    "sampleAudio": {"mediaId": "miss.param.audio", "duration": "miss.param.audio"},
    "sampleFile": {"mediaId": "miss.param.file", "fileName": "miss.param.file", "fileType": "miss.param.file"},
    "sampleVideo": {"videoMediaId": "miss.param.video"},
}


def text_of(msg_key: str, msg_param: str) -> str:
    """Check a message and return its text for the sandbox's own views.

    :raises ApiError: If there is no such template, or ``msg_param`` is not JSON, too long, or lacks a part.
    """
    parts = TEMPLATES.get(msg_key)
    if parts is None:
        raise ApiError("invalidParameter.msgKey.invalid", "there is no such msgKey")
    # DingTalk documents 15,000 bytes for groups only; its other pages have the code without the number.
    if len(msg_param.encode()) > MAX_MSG_PARAM_BYTES:
        raise ApiError("invalidParameter.msgParam.tooLong", "msgParam is longer than 15000 bytes")
    try:
        param = msgspec.json.decode(msg_param, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ApiError("invalidParameter.msgParam.invalid", "msgParam is not a JSON object") from error
    for name, code in parts.items():
        if param.get(name) in (None, ""):
            raise ApiError(code, f"msgParam has no {name}")
    shown = (param.get(name) for name in ("title", "content", "text", "fileName", "photoURL", "mediaId"))
    return " · ".join(str(part) for part in shown if part)
