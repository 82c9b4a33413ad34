"""What goes back over the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from airflow_provider_dingtalk.sandbox.refusals import Refusal

JSON_TYPE = "application/json;charset=utf-8"
OK = "ok"
THROTTLE_CODES = ("QpsLimit", "QpmLimit", "90018", "90002", "90019")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer.

    :param code: ``ok``, DingTalk's code, or the type of the fault that made it; for the journal.
    :param headers: Headers besides ``content-type`` and ``content-length``.
    :param data: The body as data, when it is JSON.
    """

    status: int
    body: bytes
    code: str = OK
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()
    data: Any = None

    @property
    def throttled(self) -> bool:
        """Whether the gateway said: too many calls at once."""
        return self.code != OK and any(code in self.code for code in THROTTLE_CODES)


class Cut(Exception):
    """Nothing goes back: the connection is cut. ``reset``: by a TCP reset."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__("cut")
        self.reset = reset


class Gone(Exception):
    """Nothing goes back: the client did not wait for it."""


def good(data: Any) -> Answer:
    """A good answer."""
    return Answer(200, msgspec.json.encode(data), data=data)


def refused(refusal: Refusal, request_id: str, headers: dict[str, str] | None = None) -> Answer:
    """A refusal in the envelope of its host."""
    body = msgspec.json.encode(refusal.body(request_id))
    return Answer(refusal.status, body, refusal.code, headers=tuple((headers or {}).items()))
