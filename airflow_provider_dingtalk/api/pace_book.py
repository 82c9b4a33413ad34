"""Who calls now, who called within the last second, and what DingTalk said to it: the arithmetic of the pace.

A book is plain data, so that one process can keep it in memory and several can keep it in a file. All times
are readings of one monotonic clock, in seconds.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

#: The window in which DingTalk counts, in seconds.
WINDOW = 1.0
#: Seconds after which a call that never ended is believed dead, as that of a killed process: longer than a
#: request may take, its way through the gate included.
LEASE = 45.0
#: Seconds without a throttle answer until the pace grows again, and those in which its growth doubles.
QUIET = 10.0
DOUBLING = 2.0
#: Seconds after a throttle answer for which calls begin one after the other.
CAREFUL = 60.0
#: Part of what went through that is taken next: some room for those who use the app too.
ROOM = 0.95
#: Part of the pace that is kept when DingTalk says "too many" for the first time, and at least later.
KEPT_AT_FIRST = 0.5
KEPT_LATER = 0.85
#: Where there may be too many, calls begin one after the other, so that few are under way when DingTalk says so:
#: this part of an even gap apart.
EVEN = 0.7
#: Calls that begin at once after a pause: so many, and so much of all slots. A stranger may be there.
AT_ONCE, AT_ONCE_SHARE = 15, 0.5
#: Round trips that are looked back at, and the part of the shortest that is surely spent on the way.
TRIPS, SURE = 20, 0.9
#: Seconds that anybody is held back at most.
LONGEST_HOLD = 300.0


class Rate(Struct, frozen=True):
    """What one caller believes to be allowed.

    :param slots: Calls within a window.
    :param window: Seconds until a slot is free again after the call on it ended.
    """

    slots: int
    window: float = WINDOW

    @classmethod
    def of(cls, calls_per_second: float) -> Rate:
        """The rate for so many calls a second; below one, a single slot that takes longer to come back."""
        window = WINDOW if calls_per_second >= 1 else WINDOW / calls_per_second
        return cls(max(1, int(calls_per_second)), window)


class Call(Struct, array_like=True):
    """A slot that is taken.

    :param until: When it is free again; while the call is under way, when its lease ends.
    :param number: Which call is under way; 0 when it has ended.
    """

    until: float
    number: int = 0


class Book(Struct):
    """The calls to one API.

    :param format: Changes with the meaning of the fields: a book of another format is none.
    :param not_before: No call begins before.
    :param share: Slots that were left to us when DingTalk last said "too many"; 0 if it never did.
    :param cut_at: When that was.
    :param since: When calls began, after a pause.
    :param last: When the last call began.
    :param trips: Seconds that the last calls took.
    """

    format: Literal[2] = 2
    not_before: float = 0.0
    share: int = 0
    cut_at: float = 0.0
    since: float = 0.0
    last: float = 0.0
    trips: list[float] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def begin(self, rate: Rate, now: float, number: int) -> float:
        """Begin a call, if one may begin now.

        :param number: Names the call until it ends; not 0.
        :returns: 0 if the call began, else as :meth:`wait`.
        """
        if any(call.until <= now for call in self.calls):
            self.calls = [call for call in self.calls if call.until > now]
        if not self.calls:
            self.since = now
        if (wait := self.wait(rate, now)) > 0:
            return wait
        self.calls.append(Call(now + LEASE + rate.window, number))
        self.last = now
        return 0.0

    def wait(self, rate: Rate, now: float) -> float:
        """Seconds after which to ask for a slot: never later than one gets free."""
        wait = max(self.not_before, self.last + self._gap(rate, now)) - now
        over = len(self.calls) - self.allowed(rate, now)
        if over < 0:
            return wait
        # A call under way ends now at the soonest, so that its slot is free after a window at the soonest.
        soonest = now + rate.window - self._on_the_way(rate, now)
        due = sorted(min(call.until, soonest) if call.number else call.until for call in self.calls)
        return max(wait, due[over] - now)

    def end(self, rate: Rate, now: float, number: int) -> None:
        """End a call, whatever became of it. One whose lease ended before is counted once more: it took place."""
        for call in self.calls:
            if call.number == number:
                self.trips = [*self.trips[1 - TRIPS :], now - (call.until - LEASE - rate.window)]
        self.calls = [call for call in self.calls if call.number != number]
        self.calls.append(Call(now + rate.window - self._on_the_way(rate, now)))

    def throttled(self, rate: Rate, now: float, seconds: float) -> None:
        """DingTalk refused a call as one too many: hold everybody back, and call less often for a while.

        Others use the app too, then. At first nobody knows how much they take: half is left to them. Later, what
        they left to us is what went through within the last window; one look may deceive, so that little is given
        up at once. Refusals within a window are one.
        """
        if now - self.cut_at >= rate.window or not self.share:
            allowed = self.allowed(rate, now)
            went_through = sum(not call.number and call.until > now for call in self.calls) - 1
            if self._met_a_stranger(now):
                self.share = max(1, int(allowed * KEPT_LATER), min(int(went_through * ROOM), allowed - 1))
            else:
                self.share = max(1, int(allowed * KEPT_AT_FIRST))
            self.cut_at = now
        self.not_before = max(self.not_before, now + min(seconds, LONGEST_HOLD))

    def allowed(self, rate: Rate, now: float) -> int:
        """Slots in force: all, or after a refusal those left to us, and after a quiet time 1, 3, 7, 15 … more."""
        if not self.share:
            return rate.slots
        quiet = now - self.cut_at - QUIET
        if quiet < 0:
            return min(rate.slots, self.share)
        doublings = int(min(quiet / DOUBLING, 32.0))
        return min(rate.slots, self.share + (1 << (doublings + 1)) - 1)

    def _gap(self, rate: Rate, now: float) -> float:
        """Seconds between the beginnings of two calls at least.

        None as long as all goes well: a whole window went through, so that the next one may. Careful is who was
        refused, and who begins.
        """
        begins = now - self.since < rate.window and len(self.calls) >= max(AT_ONCE, rate.slots * AT_ONCE_SHARE)
        if begins or self._met_a_stranger(now):
            return EVEN * rate.window / self.allowed(rate, now)
        return 0.0

    def _on_the_way(self, rate: Rate, now: float) -> float:
        """Seconds of a window that pass on the wire, so that nobody needs to wait for them.

        A call was counted some way before its answer came, and the next one on its slot is counted some way after
        it began. As long as all trips are alike, both ways together are as long as a trip, however they share it.
        The less alike they are, the less of that is sure; after a refusal nothing is.
        """
        if len(self.trips) < TRIPS or self._met_a_stranger(now):
            return 0.0
        shortest, longest = min(self.trips), max(self.trips)
        return min(max(SURE * shortest - 2 * (longest - shortest), 0.0), rate.window / 2)

    def _met_a_stranger(self, now: float) -> bool:
        return self.share > 0 and now - self.cut_at < CAREFUL

    def fits(self, rate: Rate, now: float) -> bool:
        """Whether its times can be of this clock. Those of another boot lie in a future that may never come."""
        latest = max((call.until for call in self.calls), default=now)
        return (
            latest <= now + LEASE + rate.window
            and self.not_before <= now + LONGEST_HOLD
            and 0 <= self.cut_at <= now
            and self.last <= now
            and self.share >= 0
            and all(0 <= trip <= 2 * LEASE for trip in self.trips)
        )
