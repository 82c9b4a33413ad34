"""Journal of the last requests and responses, with counts of all requests."""

from __future__ import annotations

import hashlib
from collections import deque

from msgspec import Struct

from airflow_provider_dingtalk.sandbox.responses import OK, ApiResponse

#: Maximum number of requests in the journal; older ones are dropped, but stay counted.
JOURNAL_SIZE = 20_000
#: A fault may set any code; the journal keeps this many characters of it.
MAX_CODE_LENGTH = 200
CUT = "cut"


class Entry(Struct, kw_only=True):
    """Journal entry of one request."""

    seq: int  # Number of the request since the start or the last reset, from 1
    time: float  # Arrival of the request in seconds since 1970, by the sandbox's clock
    api: str  # Path of the API without its version
    status: int = 0  # HTTP status of the response; 0 if there was none
    code: str = CUT  # DingTalk's error code, ``ok``, the type of the fault that answered, or ``cut``
    keys: int = 0  # Number of message keys that the request named
    cost: int = 0  # Number of calls that the monthly quota counts for it
    token: str | None = None  # Hash of the access token, only to distinguish tokens; default None
    faults: tuple[str, ...] = ()  # Types of the faults that applied


class Calls(Struct, kw_only=True):
    """Counts of one API's calls."""

    total: int = 0
    throttled: int = 0
    refused: int = 0  # Number of calls with an error, including the throttled ones
    cut: int = 0  # Number of calls without a whole response


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
            entry.status, entry.code = response.status, response.code[:MAX_CODE_LENGTH]
            calls.refused += response.code != OK
            calls.throttled += response.throttled
        self.entries.append(entry)


def hashed(secret: str | None) -> str | None:
    """Return a short hash of a token."""
    return hashlib.sha256(secret.encode()).hexdigest()[:12] if secret else None
