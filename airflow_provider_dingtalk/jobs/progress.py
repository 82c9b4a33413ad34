"""Progress lines in the log, at the start and every 5 s."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from airflow_provider_dingtalk.client.clock import Clock
from airflow_provider_dingtalk.language import CHINESE, choose

#: Minimum seconds between two lines.
INTERVAL = 5.0


def calls_made(used: Mapping[str, int]) -> int:
    """Return the number of requests in counts by purpose.

    A throttled request is counted under its purpose too, so ``throttled`` is not added.
    """
    return sum(number for name, number in used.items() if name != "throttled")


class Progress:
    """Logger of a job's progress: counts, rate, calls used, time left.

    :param what: Name of the job, e.g. ``Recall``.
    :param total: Number of messages in the job.
    """

    def __init__(self, log: logging.Logger, what: str, total: int, clock: Clock) -> None:
        self._log = log
        self._what, self._what_zh = what, CHINESE.get(what, what)
        self._total = total
        self._clock = clock
        self._began = self._logged_at = clock.monotonic()

    def log_start(self, calls: int) -> None:
        """Log the size of the job and the expected number of API calls."""
        line = choose(
            f"{self._what} of {self._total:,} messages in about {calls:,} API calls.",
            f"{self._what_zh} {self._total:,} 条消息，约需 {calls:,} 次 API 调用。",
        )
        self._log.info("%s", line)

    @property
    def is_due(self) -> bool:
        """True if the next line is due."""
        return self._clock.monotonic() - self._logged_at >= INTERVAL

    def log(self, done: int, used: Mapping[str, int]) -> None:
        """Log the progress.

        :param done: Number of messages that are done.
        :param used: API calls by purpose.
        """
        self._logged_at = self._clock.monotonic()
        self._log.info("%s", self._line(done, used))

    def _line(self, done: int, used: Mapping[str, int]) -> str:
        seconds = max(self._clock.monotonic() - self._began, 1e-6)
        calls = calls_made(used)
        left = f"{(self._total - done) * seconds / done:.0f}" if done else ""
        share, rate, throttled = done / max(self._total, 1), calls / seconds, used.get("throttled", 0)
        return choose(
            f"{self._what}: {done:,} of {self._total:,} messages ({share:.0%}), {done / seconds:.1f}/s, "
            f"{calls:,} calls ({rate:.1f}/s, {throttled} throttled), "
            f"{f'about {left} s left' if left else 'time left unknown'}.",
            f"{self._what_zh}：{done:,} / {self._total:,} 条消息（{share:.0%}），每秒 {done / seconds:.1f} 条，"
            f"{calls:,} 次调用（每秒 {rate:.1f} 次，限流 {throttled} 次），"
            f"{f'约剩 {left} 秒' if left else '剩余时间未知'}。",
        )
