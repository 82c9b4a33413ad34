"""Journal of the last requests and answers, with counts of all requests."""

from __future__ import annotations

import hashlib
from collections import deque

from msgspec import Struct

#: Maximum number of requests in the journal; older ones are dropped, but stay counted.
JOURNAL_SIZE = 20_000


class Entry(Struct, frozen=True, kw_only=True):
    """Journal entry of one request.

    :param seq: Number of the request since the start or the last reset, from 1.
    :param time: Time of the entry in seconds since 1970, by the sandbox's clock.
    :param api: Path of the API without its version.
    :param status: HTTP status of the answer; 0 if there was none.
    :param code: DingTalk's error code, ``ok``, the type of the fault that answered, or ``cut``.
    :param keys: Number of message keys that the request named.
    :param token: Hash of the access token, only to distinguish tokens; default None.
    :param faults: Types of the faults that applied.
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
    """Counts of one API's calls.

    :param refused: Number of calls with an error, including the throttled ones.
    :param cut: Number of calls without a whole answer.
    """

    total: int = 0
    throttled: int = 0
    refused: int = 0
    cut: int = 0


class Journal:
    """Journal of the last requests, with counts of all requests."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=JOURNAL_SIZE)
        self.calls: dict[str, Calls] = {}
        self.seq = 0

    def arrive(self, api: str) -> tuple[int, Calls]:
        """Count an incoming request and return its number and its API's counts."""
        self.seq += 1
        calls = self.calls.setdefault(api, Calls())
        calls.total += 1
        return self.seq, calls

    def write(self, entry: Entry) -> None:
        """Add an entry; beyond :data:`JOURNAL_SIZE` the oldest is dropped."""
        self.entries.append(entry)


def hashed(secret: str | None) -> str | None:
    """Return a short hash of a token."""
    return hashlib.sha256(secret.encode()).hexdigest()[:12] if secret else None
