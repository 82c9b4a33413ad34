"""What a probe saw, as a file: statuses, codes, counts and seconds. No secret, no key, no name of anybody."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

OBSERVED_VERSION = 1
#: Longest word of DingTalk's that is kept, in characters.
MAX_WORD = 80

Word = Annotated[str, Meta(max_length=MAX_WORD)]
Count = Annotated[int, Meta(ge=0)]


class Question(StrEnum):
    """What is asked, by what is done."""

    DEAD_TOKEN = "dead_token"
    """A call with a token that is none."""
    FIRST_RECALL = "first_recall"
    """A group message is recalled the moment it was sent."""
    RECALL = "recall"
    """The same until it worked, or did not for five seconds."""
    STATUS_AFTER_RECALL = "status_after_recall"
    """The state of that message."""
    SECOND_RECALL = "second_recall"
    """It is recalled once more."""
    FIRST_STATUS = "first_status"
    """The state of a group message the moment it was sent."""
    ANY_STATUS = "any_status"
    """The same as soon as there is one."""
    STATUS = "status"
    """The same as soon as it is no longer being processed."""
    UNSCOPED_STATUS = "unscoped_status"
    """The same, asked by its key alone."""
    UNKNOWN_ROBOT = "unknown_robot"
    """It is recalled by a robot that there is none of."""
    TOO_MANY_KEYS = "too_many_keys"
    """21 keys are recalled, all made up."""
    UNFIT_KEY = "unfit_key"
    """It is recalled together with a made-up key."""
    READ_STATUS = "read_status"
    """A message to a person, after they had time to read it."""
    DUPLICATE_KEY = "duplicate_key"
    """That message is recalled with its key twice in the call."""
    READ_STATUS_AFTER_RECALL = "read_status_after_recall"
    """Its state and readers then."""


class Seen(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One answer.

    :param status: HTTP status; 0 if there was no answer that can be read.
    :param code: DingTalk's error code.
    :param recalled: How often keys that were asked for stand in ``successResult``.
    :param failed: Reasons in ``failedResult``.
    :param form: What ``failedResult`` is, if it holds something: ``map`` or ``list``.
    :param missing: How many keys stand in neither.
    :param send_status: ``sendStatus``.
    :param readers: How many have read it.
    :param after: Seconds that were waited after the send.
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
    """All answers of one probe.

    :param observed_at: UTC, ISO 8601.
    :param region: Of the connection: DingTalk has two, which need not behave alike.
    :param api_calls: What the probe cost.
    """

    version: int = OBSERVED_VERSION
    observed_at: str
    region: str
    api_calls: int
    seen: dict[Question, Seen]

    def write(self, path: Path) -> None:
        """Write the file.

        :raises OSError: It cannot be written.
        """
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")


def read_observed(path: Path) -> Observed:
    """A file that a probe wrote.

    :raises OSError: It cannot be read.
    :raises ValueError: It is none, or of another version.
    """
    observed = msgspec.json.decode(path.read_bytes(), type=Observed)
    if observed.version != OBSERVED_VERSION:
        raise ValueError(f"{path.name} has version {observed.version}; this package knows {OBSERVED_VERSION}")
    return observed
