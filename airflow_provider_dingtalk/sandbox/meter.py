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
        self._fixed: dict[tuple[str, str], tuple[int, int]] = {}
        self._sliding: dict[tuple[str, str], deque[float]] = {}
        self._month = ""
        self.calls_this_month = 0

    def allows_call(self, behaviour: Behaviour, client_id: str, api: str, now: float) -> bool:
        """Count a call and return True if the rate limit allows it.

        Refused calls are not counted (our choice).
        """
        if behaviour.calls_per_second == 0:
            return True
        window = self._in_sliding if behaviour.throttle_window == "sliding" else self._in_fixed
        return window((client_id, api), behaviour.calls_per_second, now)

    def _in_fixed(self, who: tuple[str, str], allowance: int, now: float) -> bool:
        second, used = self._fixed.get(who, (0, 0))
        if second != int(now):
            second, used = int(now), 0
        self._fixed[who] = (second, min(used + 1, allowance))
        return used < allowance

    def _in_sliding(self, who: tuple[str, str], allowance: int, now: float) -> bool:
        past = self._sliding.setdefault(who, deque())
        while past and past[0] <= now - 1:
            past.popleft()
        if len(past) >= allowance:
            return False
        past.append(now)
        return True

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
