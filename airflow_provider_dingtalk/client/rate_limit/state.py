"""State and arithmetic of the rate limit of one API.

The state is plain data, so that one process can keep it in memory and several processes can share it in a file. All
times are readings of one monotonic clock, in seconds.
"""

from __future__ import annotations

import itertools
from typing import Literal

import msgspec
from msgspec import Struct, field

#: Window in which DingTalk counts calls, in seconds.
WINDOW = 1.0
#: Seconds after which a call without an end is dropped, because its process may be dead. Longer than a request may
#: take, its wait at the client's gate included.
LEASE = 45.0
#: Fraction of the rate that remains after a throttle, and after a further one while the rate is reduced.
KEPT_AT_FIRST, KEPT_LATER = 0.5, 0.85
#: Seconds for which a call without an answer keeps others waiting.
TRIAL = 0.5
#: Seconds until a call that waits for such an answer asks again.
TRIAL_POLL = 0.01
#: Seconds by which a call may be late for its turn until others pass it, because its process may be dead.
GRACE = 0.1
#: Least permits of which one returns late in each window, and seconds by which it is late, times the permits. A client
#: that uses the whole rate would leave no gap, and another host of the app would get no call through.
LATE_FROM, LATE = 10, 6.0
#: Fraction of the window between two tries of a lone call, which is less than such a gap at 20 calls a second, and the
#: number of tries until it waits a window more each time.
TRY_AGAIN, TRIES = 0.27, 6
#: Seconds after a throttle until the rate grows again, and seconds in which it would grow from 0 to all permits.
QUIET, GROWTH = 20.0, 40.0
#: Fraction of the mean interval between calls that lies at least between two: 1 ms at 60 calls a second, which is the
#: CPU time of one. Calls that begin together stay together in each window, and all but one of them wait for the
#: processor. A longer gap wakes an idle processor for each call.
GAP = 0.06
#: Number of recent round trips, and the fraction of the shortest one of all that is certainly network time.
TRIPS, SURE = 20, 0.9
#: Factor by which the shortest trip of all grows with each call, so that it is forgotten after some 1,000 calls.
FORGET = 1.001
#: Longest time for which a throttle blocks calls, in seconds.
LONGEST_HOLD = 300.0
#: Maximum size of a stored state, in bytes.
MAX_BYTES = 1_000_000


class Rate(Struct, frozen=True):
    """Rate limit as configured for one client.

    :param permits: Permits within a window.
    :param window: Seconds from the end of a call until its permit is free again; default 1.
    """

    permits: int
    window: float = WINDOW

    @classmethod
    def of(cls, calls_per_second: float) -> Rate:
        """Return the rate for a number of calls a second; below 1, a single permit with a longer window."""
        window = WINDOW if calls_per_second >= 1 else WINDOW / calls_per_second
        return cls(max(1, int(calls_per_second)), window)


class Permit(Struct, array_like=True):
    """Permit in use.

    :param until: Time at which the permit is free again; for a call in flight, the end of its lease.
    :param number: Number of the call in flight; 0 after its end.
    """

    until: float
    number: int = 0


class Turn(Struct, array_like=True):
    """Place of a call in the queue for a permit.

    :param until: Time from which others pass the call; one window later its place is lost.
    :param number: Number of the call.
    """

    until: float
    number: int


class LimiterState(Struct):
    """State of the rate limit of one API.

    :param format: Format of the data. It changes with the meaning of the fields, and other formats are refused.
    :param not_before: Time before which no call begins.
    :param share: Permits left to this client after the last throttle; 0 if there was none.
    :param cut_at: Time of the last throttle.
    :param is_spared: True if a throttle did not reduce the share further, because the other client reduced its own.
    :param refused: Number of throttles in a row of a lone call, the only one since the last throttle.
    :param answered: Calls that began and ended since the last throttle or pause.
    :param late_at: Time at which a permit last returned late.
    :param trips: Durations of the last 20 calls, in seconds.
    :param shortest: Duration of the shortest call of all, in seconds; 0 before the first one.
    :param turns: Queue of the calls that wait for a permit: one of each process, so that all get equal shares.
    :param permits: Permits in use.
    """

    format: Literal[3] = 3
    not_before: float = 0.0
    share: int = 0
    cut_at: float = 0.0
    is_spared: bool = False
    refused: int = 0
    answered: int = 0
    late_at: float = 0.0
    trips: list[float] = field(default_factory=list)
    shortest: float = 0.0
    turns: list[Turn] = field(default_factory=list)
    permits: list[Permit] = field(default_factory=list)

    def acquire(self, rate: Rate, now: float, number: int) -> float:
        """Acquire a permit if one is free.

        :param number: Number of the call until its end; not 0.
        :returns: 0 if the call may begin, otherwise the seconds until the next request for a permit.
        """
        self.permits = [permit for permit in self.permits if permit.until > now]
        self.turns = [turn for turn in self.turns if turn.until + rate.window > now]
        if not self.permits:
            self.answered = 0
            # After a pause all clients begin alike; otherwise those with a reduced share would starve. With a share of
            # one, calls that follow each other are little more than one window apart, so a pause is twice as long.
            if now > self.not_before + 2 * rate.window:
                self.share = self.refused = 0
        if (wait := self.wait(rate, now, number)) > 0:
            self._queue(number, now + wait + GRACE)
            return wait
        if self._recent_calls(rate, now) > min(self.answered, self._enough_calls(rate)):
            return TRIAL_POLL
        self.permits.append(Permit(now + LEASE + rate.window, number))
        self.turns = [turn for turn in self.turns if turn.number != number]
        self.not_before = now + GAP * rate.window / rate.permits
        return 0.0

    def release(self, rate: Rate, now: float, number: int) -> None:
        """Release a permit one window after the end of its call, regardless of the call's outcome.

        A call whose lease expired is counted again, because it took place.
        """
        for permit in self.permits:
            if permit.number == number:
                began = permit.until - LEASE - rate.window
                self.trips = [*self.trips[1 - TRIPS :], now - began]
                self.shortest = min(self.shortest * FORGET or now - began, now - began)
                self.answered += began >= self.cut_at
        self.permits = [permit for permit in self.permits if permit.number != number]
        until = now + rate.window - self._network_seconds(rate, now) + self._late_seconds(rate, now)
        self.permits.append(Permit(until))

    def forget(self, number: int) -> None:
        """Forget a permit whose call did not begin, or its turn."""
        self.permits = [permit for permit in self.permits if permit.number != number]
        self.turns = [turn for turn in self.turns if turn.number != number]

    def move(self, seconds: float) -> None:
        """Move all times to the readings of another clock, which is ahead by a number of seconds."""
        self.not_before += seconds
        self.cut_at += seconds
        self.late_at += seconds
        for permit in self.permits:
            permit.until += seconds
        for turn in self.turns:
            turn.until += seconds

    def throttled(self, rate: Rate, now: float, seconds: float) -> None:
        """Block all calls after a throttle, and reduce the rate, because another client uses the app.

        Throttles within one window count as one. If the only call since the last one is throttled, the next one comes
        after a fourth of the window, because it must meet the gap in the other client's window. After six of them in a
        row the other client leaves no gap, and each further one comes a window later still.

        :param seconds: Seconds to block all calls; at most 300.
        """
        if now - self.cut_at >= rate.window or not self.share:
            self._reduce(rate, self.allowed(rate, now))
            self.cut_at = now
        if self.answered > 1:
            self.refused = 0
        elif self.answered and seconds <= rate.window:
            self.refused += 1
            seconds = TRY_AGAIN * rate.window + (0 if self.refused < TRIES else seconds)
        self.answered = 0
        self.not_before = max(self.not_before, now + min(seconds, LONGEST_HOLD))

    def _reduce(self, rate: Rate, allowed: int) -> None:
        """Reduce the share at a throttle.

        The share of the other client is unknown at first, so half of the rate is left to it. If the only call is
        throttled, it used the whole rate and knows nothing of this client. The first throttle of several calls may
        be the one by which it learns. Each further one leaves 15 % more to it.
        """
        kept = KEPT_LATER
        if allowed >= rate.permits:
            kept, self.is_spared = KEPT_AT_FIRST, False
        elif self.answered <= 1:
            kept = 1.0
        elif not self.is_spared:
            kept, self.is_spared = 1.0, True
        self.share = max(1, int(allowed * kept))

    def allowed(self, rate: Rate, now: float) -> int:
        """Return the permits in force.

        Without a throttle these are all. After one it is the remaining share, which grows after 20 seconds.
        """
        if not self.share:
            return rate.permits
        grown = int(rate.permits * max(now - self.cut_at - QUIET, 0.0) / GROWTH)
        return min(rate.permits, self.share + grown)

    def wait(self, rate: Rate, now: float, number: int = 0) -> float:
        """Return the seconds until a call may begin at the earliest; 0 or less if it may begin now.

        :param number: Number of the call; default 0, a call without a turn, which comes after all that have one.
        """
        wait = self.not_before - now
        sooner = itertools.takewhile(lambda turn: turn.number != number, self.turns)
        ahead = sum(turn.until > now for turn in sooner)
        over = len(self.permits) + ahead - self.allowed(rate, now)
        if over < 0:
            return wait
        # A call in flight ends now at the earliest, so its permit is free one window from now at the earliest.
        soonest = now + rate.window - self._network_seconds(rate, now)
        due = sorted(min(permit.until, soonest) if permit.number else permit.until for permit in self.permits)
        # Permits that those ahead will take are in use soon. Until then it is unknown when they are free.
        return max(wait, due[min(over, len(due) - 1)] - now if due else TRIAL_POLL)

    def _queue(self, number: int, until: float) -> None:
        """Keep the turn of a call, or give it the last one."""
        for turn in self.turns:
            if turn.number == number:
                turn.until = until
                return
        self.turns.append(Turn(until, number))

    def _recent_calls(self, rate: Rate, now: float) -> int:
        """Return the number of calls in flight that began less than half a second ago.

        After a pause or a throttle one call goes ahead, and then one more for each answer: if another client uses
        the whole rate, one call is throttled and not all in flight.
        """
        oldest = now + LEASE + rate.window - TRIAL
        return sum(permit.number != 0 and permit.until > oldest for permit in self.permits)

    def _enough_calls(self, rate: Rate) -> int:
        """Return the number of calls in flight that is enough for the rate: three times the need."""
        return max(rate.permits // 7, int(3 * rate.permits * max(self.trips, default=0.0) / rate.window))

    def _late_seconds(self, rate: Rate, now: float) -> float:
        """Return the seconds by which a permit returns late: one in each window, while the rate is not reduced."""
        if rate.permits < LATE_FROM or now - self.late_at < rate.window or self.allowed(rate, now) < rate.permits:
            return 0.0
        self.late_at = now
        return LATE / rate.permits

    def _network_seconds(self, rate: Rate, now: float) -> float:
        """Return the network time that counts towards a window, in seconds.

        DingTalk counts a call before its answer arrives, and counts the next call on the permit after that call
        begins. If all round trips take equally long, both intervals add up to one round trip. The more the usual
        one differs from the shortest, the less of it is certain. On a machine at its limit all requests leave late,
        so the last trips are too long, and the shortest one of all counts. While the rate is reduced, another client
        may need it.
        """
        if len(self.trips) < TRIPS or self.allowed(rate, now) < rate.permits:
            return 0.0
        excess = sorted(self.trips)[TRIPS // 2] - self.shortest
        return min(max(SURE * self.shortest - excess, 0.0), rate.window / 2)

    def fits(self, rate: Rate, now: float) -> bool:
        """Return True if the times can be readings of this clock.

        Times of another boot may lie in a future that this clock never reaches.
        """
        latest = max((permit.until for permit in self.permits), default=now)
        return (
            latest <= now + LEASE + rate.window
            and all(turn.until <= now + max(LONGEST_HOLD, LEASE + rate.window) + GRACE for turn in self.turns)
            and self.not_before <= now + LONGEST_HOLD
            and 0 <= self.cut_at <= now
            and 0 <= self.late_at <= now
            and self.answered >= 0
            and self.refused >= 0
            and self.share >= 0
            and all(0 <= trip <= 2 * LEASE for trip in (self.shortest, *self.trips))
        )


def decode_state(text: bytes, rate: Rate, now: float) -> LimiterState | None:
    """Decode a stored state; an empty text is a new one.

    :returns: None if it cannot be read, or its times cannot be readings of this clock.
    """
    try:
        state = msgspec.json.decode(text[: MAX_BYTES + 1] or b"{}", type=LimiterState)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return state if len(text) <= MAX_BYTES and state.fits(rate, now) else None
