"""Spacing: when to look at a message again. Plain functions of its key and its age; nothing to store.

A standard organisation has 5,000 API calls a month, so a wait must not poll at a beat. The moments to look
at a message are fixed by its key: soon after the send, then further and further apart. Whoever looks (a
worker, the same after a reschedule, a trigger after a restart) finds the same moments.

What holds by default, and why:

* What became true at age *a* (seconds since the send) is seen at *a* + 20 % + 60 s at the latest. A few seconds
  of that are left for the call itself.
* Waiting 24 hours for one reader takes 39 looks at most, the first and the last one included. A longest gap of
  one hour would take 49: hence two.
"""

from __future__ import annotations

import math
from zlib import crc32

from msgspec import Struct

#: Seconds between two looks at most, by default.
MAX_GAP = 7200.0
#: Calls of one wait, by default.
MAX_API_CALLS = 1000
#: Seconds between two looks at least, whatever somebody asks for.
MIN_GAP = 0.1

# Steps of the golden ratio are spread evenly, however few of them are taken.
_GOLDEN = (math.sqrt(5) - 1) / 2


class Spacing(Struct, frozen=True, kw_only=True):
    """How far apart the looks at a message are, in seconds.

    :param base: A gap at age 0.
    :param growth: What each second of age adds to a gap.
    :param longest: No gap is longer.
    :param young: A young message's gap is its age, and at least this: deliveries take seconds.
    :param jitter: Share of a gap that may be left out, so that messages of one send do not stay in step.
    """

    base: float = 56.0
    growth: float = 0.2
    longest: float = MAX_GAP
    young: float | None = 20.0
    jitter: float = 0.08

    @property
    def is_beat(self) -> bool:
        """Whether all gaps are the same."""
        return self.growth == 0

    def gap(self, age: float) -> float:
        """Seconds until the next look at a message of an age, before jitter."""
        gap = min(self.base + self.growth * max(age, 0.0), self.longest)
        if self.young is not None:
            gap = min(gap, max(self.young, age))
        return max(gap, MIN_GAP)

    def next_look(self, key: str, age: float) -> float:
        """The first moment to look that lies after an age; an age itself."""
        if self.is_beat:
            gap = self.gap(0.0)
            # By a counter and not by a sum: a beat must not drift.
            due = (math.floor(age / gap) + 1) * gap
            return due if due > age else due + gap
        # Written out, and not by `gap`: a trigger that begins anew does this for thousands of messages at once.
        base, growth, longest = self.base, self.growth, self.longest
        young, jitter = longest if self.young is None else self.young, self.jitter
        moment, step = 0.0, crc32(key.encode()) / 2**32
        while moment <= age:
            step = (step + _GOLDEN) % 1.0
            gap = base + growth * moment
            gap = min(gap, longest)
            if moment < gap:
                gap = min(gap, max(young, moment))
            moment += max(gap * (1 - jitter * step), MIN_GAP)
        return moment

    def looks(self, age: float, end: float) -> int:
        """About how many looks there are between two ages of a message, the one at the end included."""
        if end <= age:
            return 1
        if self.is_beat:
            return math.ceil((end - age) / self.gap(0.0))
        looks = 0
        while age < end:
            age += self.gap(age) * (1 - self.jitter / 2)
            looks += 1
        return looks


def spacing_of(poke_interval: float | None, *, grows: bool = False, longest: float = MAX_GAP) -> Spacing:
    """The spacing that somebody asks for.

    :param poke_interval: Seconds. None: growing gaps. A number is what Airflow says it is: the same gap, always.
    :param grows: The number is the gap at age 0 only (Airflow's ``exponential_backoff``).
    :param longest: Seconds between two looks at most; a beat is not touched by it.
    """
    if poke_interval is None:
        return Spacing(longest=longest)
    if grows:
        return Spacing(base=poke_interval, longest=max(longest, poke_interval), young=None)
    return Spacing(base=poke_interval, growth=0.0, longest=max(longest, poke_interval), young=None, jitter=0.0)
