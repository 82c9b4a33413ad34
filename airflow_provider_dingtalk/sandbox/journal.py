"""Journal of the last requests and responses, with counts of all requests."""

from __future__ import annotations

import hashlib
from collections import deque

from msgspec import Struct

from airflow_provider_dingtalk.sandbox.responses import OK, ApiResponse

#: Maximum number of requests in the journal; older ones are dropped, but stay counted.
JOURNAL_SIZE = 20_000
CUT = "cut"


class Entry(Struct, kw_only=True):
    """Journal entry of one request.

    :param seq: Number of the request since the start or the last reset, from 1.
    :param time: Arrival of the request in seconds since 1970, by the sandbox's clock.
    :param api: Path of the API without its version.
    :param status: HTTP status of the response; 0 if there was none.
    :param code: DingTalk's error code, ``ok``, the type of the fault that answered, or ``cut``.
    :param keys: Number of message keys that the request named.
    :param token: Hash of the access token, only to distinguish tokens; default None.
    :param faults: Types of the faults that applied.
    """

    seq: int
    time: float
    api: str
    status: int = 0
    code: str = CUT
    keys: int = 0
    token: str | None = None
    faults: tuple[str, ...] = ()


class Calls(Struct, kw_only=True):
    """Counts of one API's calls.

    :param refused: Number of calls with an error, including the throttled ones.
    :param cut: Number of calls without a whole response.
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

    def arrive(self, api: str, now: float) -> Entry:
        """Count an incoming request and return its entry, which is not written yet."""
        self.seq += 1
        self.calls.setdefault(api, Calls()).total += 1
        return Entry(seq=self.seq, time=now, api=api)

    def write(self, entry: Entry, response: ApiResponse | None, *, truncated: bool = False) -> None:
        """Add the entry of an answered request; beyond :data:`JOURNAL_SIZE` the oldest is dropped.

        :param response: Response to the request; None for a cut connection.
        :param truncated: Only a part of the response is sent; default False.
        """
        calls = self.calls[entry.api]
        calls.cut += truncated or response is None
        if response is not None:
            entry.status, entry.code = response.status, response.code
            calls.refused += response.code != OK
            calls.throttled += response.throttled
        self.entries.append(entry)


def hashed(secret: str | None) -> str | None:
    """Return a short hash of a token."""
    return hashlib.sha256(secret.encode()).hexdigest()[:12] if secret else None
