"""Rate limit and quota of DingTalk's gateway.

The rate limit counts calls per second of an app to an API. The quota counts calls per month of the organisation.
"""

from __future__ import annotations

import time
from collections import deque

from airflow_provider_dingtalk.sandbox.behaviour import Behaviour

#: Offset in seconds, because DingTalk counts months in China's time.
UTC_PLUS_8 = 8 * 3600


class Meter:
    """Counter of calls against the rate limit and the quota."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str], deque[float]] = {}
        self._month = ""
        self.calls_this_month = 0

    def allows_call(self, behaviour: Behaviour, client_id: str, api: str, now: float) -> bool:
        """Count a call and return True if the rate limit allows it.

        Refused calls are not counted (our choice).
        """
        if behaviour.calls_per_second == 0:
            return True
        past = self._windows.setdefault((client_id, api), deque())
        is_fixed = behaviour.throttle_window == "fixed"
        while past and (int(past[0]) != int(now) if is_fixed else past[0] <= now - 1):
            past.popleft()
        allowed = len(past) < behaviour.calls_per_second
        if allowed:
            past.append(now)
        return allowed

    def calls_by_api(self, behaviour: Behaviour, now: float) -> dict[str, int]:
        """Return the calls of the current second by API, of the app with the most calls."""
        is_fixed, calls = behaviour.throttle_window == "fixed", dict[str, int]()
        for (_, api), window in list(self._windows.items()):
            count = sum(int(at) == int(now) if is_fixed else at > now - 1 for at in list(window))
            calls[api] = max(count, calls.get(api, 0))
        return calls

    def allows_month(self, behaviour: Behaviour, now: float) -> bool:
        """Count a call and return True if the monthly quota allows it.

        Refused calls are not counted.
        """
        month = time.strftime("%Y-%m", time.gmtime(now + UTC_PLUS_8))
        if month != self._month:
            self._month, self.calls_this_month = month, 0
        if behaviour.calls_per_month is not None and self.calls_this_month >= behaviour.calls_per_month:
            return False
        self.calls_this_month += 1
        return True
