"""Poll schedule of a message, computed from its key and age alone.

A change at age *a* (seconds since the send) is seen at *a* + 20 % + 60 s at the latest, including a few seconds for
the call itself. A wait of 24 hours for one reader takes 39 polls at most (docs/design.md, decision 15).
"""

from __future__ import annotations

import math
from zlib import crc32

from msgspec import Struct

#: Default of the maximum seconds between two polls.
MAX_GAP = 7200.0
#: Default of the maximum API calls of one wait.
MAX_API_CALLS = 1000
#: Minimum seconds between two polls, even if the user asks for less.
MIN_GAP = 0.1

# Steps of the golden ratio are spread evenly, even if only a few of them are taken.
_GOLDEN = (math.sqrt(5) - 1) / 2


class PollSchedule(Struct, frozen=True, kw_only=True):
    """Poll schedule: gaps between the polls of a message, in seconds.

    :param base: Gap at age 0; default 56.
    :param growth: Seconds that each second of age adds to a gap; default 0.2. 0 makes a fixed interval.
    :param longest: Maximum gap; default 7200.
    :param young: Minimum gap of a young message, whose gap is its age, since deliveries take seconds. Default 20;
        None disables the rule for young messages.
    :param jitter: Maximum share of a gap to leave out, so that messages of one send are not polled together;
        default 0.08.
    """

    base: float = 56.0
    growth: float = 0.2
    longest: float = MAX_GAP
    young: float | None = 20.0
    jitter: float = 0.08

    @property
    def is_fixed(self) -> bool:
        """True for a fixed interval."""
        return self.growth == 0

    def gap(self, age: float) -> float:
        """Return the seconds until the next poll at an age, before jitter."""
        gap = min(self.base + self.growth * max(age, 0.0), self.longest)
        if self.young is not None:
            gap = min(gap, max(self.young, age))
        return max(gap, MIN_GAP)

    def next_poll(self, key: str, age: float) -> float:
        """Return the age of the first poll that lies after an age."""
        if self.is_fixed:
            gap = self.gap(0.0)
            # A sum of gaps would drift, so the poll times are multiples of the gap.
            due = (math.floor(age / gap) + 1) * gap
            return due if due > age else due + gap
        # A restarted trigger computes this for thousands of messages at once, so `gap` is inlined.
        base, growth, longest, jitter = self.base, self.growth, self.longest, self.jitter
        young = longest if self.young is None else self.young
        due, step = 0.0, crc32(key.encode()) / 2**32
        while due <= age:
            step = (step + _GOLDEN) % 1.0
            gap = min(base + growth * due, longest)
            if due < gap:
                gap = min(gap, max(young, due))
            due += max(gap * (1 - jitter * step), MIN_GAP)
        return due

    def count_polls(self, age: float, end: float) -> int:
        """Estimate the polls between two ages, including that at the end."""
        if end <= age:
            return 1
        if self.is_fixed:
            return math.ceil((end - age) / self.gap(0.0))
        polls = 0
        while age < end:
            age += self.gap(age) * (1 - self.jitter / 2)
            polls += 1
        return polls


def poll_schedule_of(poke_interval: float | None, *, grows: bool = False, longest: float = MAX_GAP) -> PollSchedule:
    """Build the poll schedule for the arguments of a sensor.

    :param poke_interval: Fixed interval in seconds, as in Airflow. None means growing gaps.
    :param grows: If True, ``poke_interval`` is the gap at age 0 only (Airflow's ``exponential_backoff``); default
        False.
    :param longest: Maximum seconds between two polls; default 7200. It does not apply to a fixed interval.
    """
    if poke_interval is None:
        return PollSchedule(longest=longest)
    longest = max(longest, poke_interval)
    if grows:
        return PollSchedule(base=poke_interval, longest=longest, young=None)
    return PollSchedule(base=poke_interval, growth=0.0, longest=longest, young=None, jitter=0.0)
