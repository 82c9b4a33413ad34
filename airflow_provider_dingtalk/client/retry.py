"""Decision whether the client sends a failed call again."""

from __future__ import annotations

import msgspec

from airflow_provider_dingtalk.client.error_codes import Retry, rule_for
from airflow_provider_dingtalk.exceptions import (
    BannedError,
    ConnectionFailedError,
    DingTalkError,
    OutcomeUnknownError,
    ResponseError,
    ThrottlingError,
    UnexpectedHtmlError,
)

#: Longest wait between two tries of a call, in seconds. The caller decides about longer ones.
LONG_WAIT = 60.0
#: Seconds within which several throttles of a call count as one: the rate limit tries a lone call four times a second.
COUNTED_APART = 0.9


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Timeout and retry limits of a client.

    :param request_deadline: Timeout of one request in seconds, from the connection to the last byte read; default 30.
    :param tries: Maximum tries of a call whose retry is harmless; default 3.
    :param throttled_tries: Maximum tries of a throttled call, of which those within a second count as one; default 60.
    """

    request_deadline: float = 30.0
    tries: int = 3
    throttled_tries: int = 60


class RetryState(msgspec.Struct):
    """Number of errors of one call, by kind.

    :param throttled_at: Time of the last throttle that was counted, on a monotonic clock in seconds.
    """

    dead_tokens: int = 0
    throttles: int = 0
    failures: int = 0
    throttled_at: float = float("-inf")

    def count(self, error: DingTalkError, now: float) -> None:
        """Count an error.

        :param now: Time on a monotonic clock, in seconds.
        """
        if is_dead_token(error):
            self.dead_tokens += 1
        elif isinstance(error, ThrottlingError):
            if now - self.throttled_at >= COUNTED_APART:
                self.throttles += 1
                self.throttled_at = now
        else:
            self.failures += 1


def should_retry(error: DingTalkError, state: RetryState, policy: RetryPolicy, *, is_read: bool) -> bool:
    """Return True if a failed call should be sent again.

    :param state: Errors of the call, this one included.
    :param is_read: True if the call only reads, so that a retry is harmless.
    """
    if is_dead_token(error):
        return state.dead_tokens == 1
    if isinstance(error, ThrottlingError):
        # A ban or a long wait would hold a worker slot, so the caller decides and may defer the task.
        is_long = isinstance(error, BannedError) or error.retry_after > LONG_WAIT
        return not is_long and state.throttles < policy.throttled_tries
    is_harmless = isinstance(error, ConnectionFailedError) or (is_read and _may_pass(error))
    return is_harmless and state.failures < policy.tries


def seconds_until_retry(error: DingTalkError, state: RetryState, *, is_limited: bool) -> float:
    """Return the seconds that a call waits by itself until it is sent again.

    These are DingTalk's ``retry_after`` for a throttle, 0 for a dead token, otherwise 0.5, doubled at each failure.

    :param is_limited: True if a rate limit holds throttled calls back. They wait for nothing else then: the first call
        of a recall is alone, and meets the gap that another host leaves only if it is tried as soon as that allows.
    """
    if isinstance(error, ThrottlingError):
        return 0.0 if is_limited else error.retry_after
    return 0.0 if is_dead_token(error) else 0.5 * 2.0 ** (state.failures - 1)


def is_dead_token(error: DingTalkError) -> bool:
    """Return True if DingTalk refused the access token."""
    return isinstance(error, ResponseError) and rule_for(error.code, error.status_code).retry is Retry.REFRESH


def _may_pass(error: DingTalkError) -> bool:
    if isinstance(error, OutcomeUnknownError):
        return not isinstance(error, UnexpectedHtmlError)
    return isinstance(error, ResponseError) and rule_for(error.code, error.status_code).retry is Retry.AGAIN
