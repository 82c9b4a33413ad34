"""State and arithmetic of the rate limit of one API.

The state is plain data, so that one process can keep it in memory and several processes can share it in a file. All
times are readings of one monotonic clock, in seconds.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

#: Window in which DingTalk counts calls, in seconds.
WINDOW = 1.0
#: Seconds after which a call without an end is dropped, because its process may be dead. Longer than a request may
#: take, its wait at the client's gate included.
LEASE = 45.0
#: Seconds after a throttle until the rate grows again, and seconds in which its growth doubles.
QUIET = 10.0
DOUBLING = 2.0
#: Seconds after a throttle for which calls are spaced.
CAREFUL = 60.0
#: Fraction of the successful calls that is allowed next. The rest is left to other clients of the app.
ROOM = 0.95
#: Fraction of the rate that remains after the first throttle, and the least fraction after later ones.
KEPT_AT_FIRST = 0.5
KEPT_LATER = 0.85
#: Gap between spaced calls, as a fraction of an even gap. Calls are spaced where a throttle is likely, so that it
#: meets few calls in flight.
EVEN = 0.7
#: Burst after a pause: number of calls, and fraction of all permits. The larger one applies. The burst is limited
#: because another client may use the app.
AT_ONCE, AT_ONCE_SHARE = 15, 0.5
#: Number of recent round trips, and the fraction of the shortest one that is certainly network time.
TRIPS, SURE = 20, 0.9
#: Longest time for which a throttle blocks calls, in seconds.
LONGEST_HOLD = 300.0


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


class LimiterState(Struct):
    """State of the rate limit of one API.

    :param format: Format of the data. It changes with the meaning of the fields, and other formats are refused.
    :param not_before: Time before which no call begins.
    :param share: Permits left to this client after the last throttle; 0 if there was none.
    :param cut_at: Time of the last throttle.
    :param since: Time of the first call after a pause.
    :param last: Time at which the last call began.
    :param trips: Durations of the last 20 calls, in seconds.
    :param permits: Permits in use.
    """

    format: Literal[3] = 3
    not_before: float = 0.0
    share: int = 0
    cut_at: float = 0.0
    since: float = 0.0
    last: float = 0.0
    trips: list[float] = field(default_factory=list)
    permits: list[Permit] = field(default_factory=list)

    def acquire(self, rate: Rate, now: float, number: int) -> float:
        """Acquire a permit if one is free.

        :param number: Number of the call until its end; not 0.
        :returns: 0 if the call may begin, otherwise the seconds until the next request for a permit.
        """
        self.permits = [permit for permit in self.permits if permit.until > now]
        if not self.permits:
            self.since = now
        if (wait := self._wait(rate, now)) > 0:
            return wait
        self.permits.append(Permit(now + LEASE + rate.window, number))
        self.last = now
        return 0.0

    def release(self, rate: Rate, now: float, number: int) -> None:
        """Release a permit one window after the end of its call, regardless of the call's outcome.

        A call whose lease expired is counted again, because it took place.
        """
        for permit in self.permits:
            if permit.number == number:
                self.trips = [*self.trips[1 - TRIPS :], now - (permit.until - LEASE - rate.window)]
        self.permits = [permit for permit in self.permits if permit.number != number]
        self.permits.append(Permit(now + rate.window - self._network_seconds(rate, now)))

    def throttled(self, rate: Rate, now: float, seconds: float) -> None:
        """Block all calls after a throttle, and reduce the rate.

        Other clients use the app then. At a throttle after 60 seconds without one their share is unknown, so half
        of the rate is left to them. Otherwise, the calls that succeeded within the last window show the share. One
        window may mislead, so at most 15 % is given up at once. Throttles within one window count as one.

        :param seconds: Seconds to block all calls; at most 300.
        """
        if now - self.cut_at >= rate.window or not self.share:
            allowed = self.allowed(rate, now)
            succeeded = sum(not permit.number and permit.until > now for permit in self.permits) - 1
            if self._is_shared(now):
                self.share = max(1, int(allowed * KEPT_LATER), min(int(succeeded * ROOM), allowed - 1))
            else:
                self.share = max(1, int(allowed * KEPT_AT_FIRST))
            self.cut_at = now
        self.not_before = max(self.not_before, now + min(seconds, LONGEST_HOLD))

    def allowed(self, rate: Rate, now: float) -> int:
        """Return the permits in force.

        Without a throttle these are all. After one it is the remaining share, and after a quiet time 1, 3, 7, 15 …
        more.
        """
        if not self.share:
            return rate.permits
        quiet = now - self.cut_at - QUIET
        growth = (1 << (int(min(quiet / DOUBLING, 32.0)) + 1)) - 1 if quiet >= 0 else 0
        return min(rate.permits, self.share + growth)

    def _wait(self, rate: Rate, now: float) -> float:
        """Return the seconds until a permit is free at the earliest."""
        wait = max(self.not_before, self.last + self._gap(rate, now)) - now
        over = len(self.permits) - self.allowed(rate, now)
        if over < 0:
            return wait
        # A call in flight ends now at the earliest, so its permit is free one window from now at the earliest.
        soonest = now + rate.window - self._network_seconds(rate, now)
        due = sorted(min(permit.until, soonest) if permit.number else permit.until for permit in self.permits)
        return max(wait, due[over] - now)

    def _gap(self, rate: Rate, now: float) -> float:
        """Return the minimum seconds between the starts of two calls.

        It is 0 unless calls are spaced. They are for 60 seconds after a throttle, and between the burst after a
        pause and the end of its window.
        """
        begins = now - self.since < rate.window and len(self.permits) >= max(AT_ONCE, rate.permits * AT_ONCE_SHARE)
        if begins or self._is_shared(now):
            return EVEN * rate.window / self.allowed(rate, now)
        return 0.0

    def _network_seconds(self, rate: Rate, now: float) -> float:
        """Return the network time that counts towards a window, in seconds.

        DingTalk counts a call before its answer arrives, and counts the next call on the permit after that call
        begins. If all round trips take equally long, both intervals add up to one round trip. The more the round
        trips differ, the less of it is certain. After a throttle nothing is certain.
        """
        if len(self.trips) < TRIPS or self._is_shared(now):
            return 0.0
        shortest, longest = min(self.trips), max(self.trips)
        return min(max(SURE * shortest - 2 * (longest - shortest), 0.0), rate.window / 2)

    def _is_shared(self, now: float) -> bool:
        """Return True if other clients of the app called in the last 60 seconds."""
        return self.share > 0 and now - self.cut_at < CAREFUL

    def fits(self, rate: Rate, now: float) -> bool:
        """Return True if the times can be readings of this clock.

        Times of another boot may lie in a future that this clock never reaches.
        """
        latest = max((permit.until for permit in self.permits), default=now)
        return (
            latest <= now + LEASE + rate.window
            and self.not_before <= now + LONGEST_HOLD
            and 0 <= self.cut_at <= now
            and self.last <= now
            and self.share >= 0
            and all(0 <= trip <= 2 * LEASE for trip in self.trips)
        )
