"""Observations of a probe as a file: statuses, codes, counts and seconds.

It holds no secret, no message key and no name.
"""

from __future__ import annotations

from enum import StrEnum, auto
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

OBSERVED_VERSION = 1
#: Maximum length of a text of DingTalk that is kept, in characters.
MAX_WORD = 80

Word = Annotated[str, Meta(max_length=MAX_WORD)]
Count = Annotated[int, Meta(ge=0)]


class Question(StrEnum):
    """Questions of the probe, each named by the call that answers it."""

    DEAD_TOKEN = auto()  #: Call with an invalid token.
    FIRST_RECALL = auto()  #: Recall of a group message at once after its send.
    RECALL = auto()  #: Last attempt of that recall, which succeeded or came 5 seconds after the send.
    STATUS_AFTER_RECALL = auto()  #: Status of that message after its recall.
    SECOND_RECALL = auto()  #: Second recall of that message.
    FIRST_STATUS = auto()  #: Status of a second group message at once after its send.
    ANY_STATUS = auto()  #: First status of that message that DingTalk has.
    STATUS = auto()  #: First status of that message other than ``PROCESSING``.
    UNSCOPED_STATUS = auto()  #: Status of that message, queried by its key alone.
    UNKNOWN_ROBOT = auto()  #: Recall of that message by a robot that does not exist.
    TOO_MANY_KEYS = auto()  #: Recall of 21 made-up keys.
    UNFIT_KEY = auto()  #: Recall of that message together with a made-up key.
    READ_STATUS = auto()  #: Status of a one-on-one message after the person had time to read it.
    DUPLICATE_KEY = auto()  #: Recall of that message with its key twice in the call.
    READ_STATUS_AFTER_RECALL = auto()  #: Status and readers of that message after its recall.


class Observation(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Observed answer of DingTalk to one call.

    :param status: HTTP status; 0 if there was no readable answer.
    :param code: DingTalk's error code; default empty.
    :param recalled: Number of entries in ``successResult`` that the call named.
    :param failed: Reasons in ``failedResult``.
    :param form: Type of ``failedResult``, ``map`` or ``list``; empty if it has no entries.
    :param missing: Number of keys in neither list.
    :param send_status: Value of ``sendStatus``; None for a recall.
    :param readers: Number of readers; None for a recall.
    :param after: Seconds waited after the send.
    """

    status: Count
    code: Word = ""
    recalled: Count = 0
    failed: list[Word] = []
    form: Word = ""
    missing: Count = 0
    send_status: Word | None = None
    readers: Count | None = None
    after: Annotated[float, Meta(ge=0)] = 0.0


class Observed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All observed answers of one probe.

    :param observed_at: Time of the probe in UTC, ISO 8601.
    :param region: Region of the connection. DingTalk has two, which may behave differently.
    :param api_calls: Number of API calls that the probe made.
    """

    version: int = OBSERVED_VERSION
    observed_at: str
    region: str
    api_calls: int
    seen: dict[Question, Observation]

    def write(self, path: Path) -> None:
        """Write the file.

        :raises OSError: If the file cannot be written.
        """
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")


def read_observed(path: Path) -> Observed:
    """Read a file that a probe wrote.

    :raises OSError: If the file cannot be read.
    :raises ValueError: If the file is invalid or has another version.
    """
    observed = msgspec.json.decode(path.read_bytes(), type=Observed)
    if observed.version != OBSERVED_VERSION:
        raise ValueError(f"{path.name} has version {observed.version}; this package knows {OBSERVED_VERSION}")
    return observed
