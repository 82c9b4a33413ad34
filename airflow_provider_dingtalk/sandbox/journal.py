"""What was asked of the sandbox and how it answered: the last requests, and counts of all."""

from __future__ import annotations

import hashlib
from collections import deque

from msgspec import Struct

#: Requests that the journal keeps; older ones are forgotten, but stay counted.
JOURNAL_SIZE = 20_000


class Entry(Struct, frozen=True, kw_only=True):
    """One request.

    :param seq: Number of the request since the start or the last reset, from 1.
    :param time: When it arrived, in seconds since 1970 on the sandbox's clock.
    :param api: Path without version, as everywhere in this package.
    :param status: HTTP status of the answer; 0 when there was none.
    :param code: DingTalk's code of a refusal, ``ok``, the type of a fault that answered, or ``cut``.
    :param keys: How many message keys the request named.
    :param token: A hash of its access token, good for telling tokens apart only.
    :param faults: Types of the faults that struck it.
    """

    seq: int
    time: float
    api: str
    status: int
    code: str
    keys: int
    token: str | None = None
    faults: tuple[str, ...] = ()


class Calls(Struct, kw_only=True):
    """Counts of one API. ``refused`` includes ``throttled``; ``cut`` got no whole answer."""

    total: int = 0
    throttled: int = 0
    refused: int = 0
    cut: int = 0


class Journal:
    """The last requests and the counts of all."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=JOURNAL_SIZE)
        self.calls: dict[str, Calls] = {}
        self.seq = 0

    def arrive(self, api: str) -> tuple[int, Calls]:
        """Count a request as it comes in; gives its number and the counts of its API."""
        self.seq += 1
        calls = self.calls.setdefault(api, Calls())
        calls.total += 1
        return self.seq, calls

    def write(self, entry: Entry) -> None:
        """Keep an entry, and forget the oldest when there are too many."""
        self.entries.append(entry)


def hashed(secret: str | None) -> str | None:
    """A short hash in place of a token."""
    return hashlib.sha256(secret.encode()).hexdigest()[:12] if secret else None
