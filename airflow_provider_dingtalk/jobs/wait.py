"""Wait for thousands of messages, with a heap of their poll times.

One :class:`Wait` serves all ways of waiting. A trigger keeps it until the end, and a worker polls with it
repeatedly. A rescheduled task builds it anew from the state that the previous poll stored (:meth:`Wait.state`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from heapq import heapify, heappop, heappush
from typing import Any

from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.clock import Clock, SystemClock
from airflow_provider_dingtalk.exceptions import DingTalkError, StatusUnavailableError, TooManyCallsError
from airflow_provider_dingtalk.jobs.progress import calls_made
from airflow_provider_dingtalk.jobs.recall_results import is_about_the_app, is_about_the_kind
from airflow_provider_dingtalk.jobs.status_reader import IN_FLIGHT, Clients
from airflow_provider_dingtalk.jobs.wait_state import LastStatus, WaitOptions, WaitState, error_of
from airflow_provider_dingtalk.jobs.worker_pool import run_workers
from airflow_provider_dingtalk.language import choose, get_logger, in_each_language
from airflow_provider_dingtalk.messages import conditions
from airflow_provider_dingtalk.messages.conditions import Condition, Judgement, MessageStatus, Target
from airflow_provider_dingtalk.messages.message_types import message_type, obstacle_of
from airflow_provider_dingtalk.messages.read_status import StatusQuery

log = get_logger(__name__)

#: Consecutive failures after which a poll is aborted, since no call would succeed now.
MAX_FAILURES_PER_POLL = 10
#: Minimum seconds until the retry of a message whose poll failed.
RETRY_AFTER = 30.0
#: Maximum lost messages, and dropped recipients of one message, that the log names.
NAMED_IN_LOG = 10
#: Seconds by which a poll may be early, since clocks and timers round.
_TICK = 0.001


class Wait:
    """Wait job for messages that are to meet a condition.

    :param targets: Messages to poll.
    :param condition: Condition that they are to meet.
    :param wait_options: Poll schedule, end, and maximum API calls.
    :param with_readers: If True, the result holds the user ids of the readers; default False.
    :param clock: Source of time; default: the system's.
    :param state: State of an earlier :class:`Wait` for the same messages; default: a new wait.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        condition: Condition,
        wait_options: WaitOptions,
        *,
        with_readers: bool = False,
        clock: Clock | None = None,
        state: WaitState | None = None,
    ) -> None:
        self.targets = targets
        self.condition = condition
        self.wait_options = wait_options
        self._with_readers = with_readers
        self._clock = clock or SystemClock()
        self._last: dict[int, LastStatus] = {}
        self._logged_drops: set[str] = set()
        self._failures = 0
        self._is_aborted = self._had_failure = False
        self._not_before = float("-inf")
        self._restore(state or WaitState())

    def _restore(self, state: WaitState) -> None:
        # A stored number below zero would let the wait make calls without an end, so it is ignored.
        self.used = Counter({name: number for name, number in state.used.items() if number > 0})
        self._begun = self.calls - self.used["token"]
        is_indexed = state.met_by_key or state.lost_keys or state.sent_keys
        index = {target.key: at for at, target in enumerate(self.targets)} if is_indexed else {}
        self._met = {index[key]: seen for key, seen in state.met_by_key.items() if key in index}
        #: Messages that can never meet the condition, by index.
        self._lost: set[int] = {index[key] for key in state.lost_keys if key in index}
        self._sent = {index[key] for key in state.sent_keys if key in index}
        now = self._clock.now()
        self._polled_at = _between(self.wait_options.began, state.polled_at, now)
        decided = self._met.keys() | self._lost
        self._due = [(self._first(at, now), at) for at in range(len(self.targets)) if at not in decided]
        heapify(self._due)

    # ── result ───────────────────────────────────────────────────────────────────────────────────────

    @property
    def is_met(self) -> bool:
        """True if all messages, or any (``match``), meet the condition."""
        judgements = [Judgement.NOT_YET] * (len(self.targets) > len(self._met) + len(self._lost))
        judgements += [Judgement.MET] * bool(self._met) + [Judgement.NEVER] * bool(self._lost)
        return conditions.evaluate_all(judgements, self.condition) is Judgement.MET

    @property
    def is_time_up(self) -> bool:
        """True if the end of the wait has come."""
        return self.wait_options.end is not None and self._clock.now() + _TICK >= self.wait_options.end

    @property
    def next_due(self) -> float | None:
        """Unix time in seconds of the next poll; None after the last."""
        if not self._due or (self._is_aborted and self.is_time_up):
            return None
        return max(self._due[0][0], self._not_before)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the next poll; None after the last."""
        return None if self.next_due is None else self.next_due - self._clock.now()

    @property
    def calls(self) -> int:
        """Number of calls that reached DingTalk; a throttled one counts once."""
        return calls_made(self.used)

    @property
    def connections(self) -> set[str | None]:
        """Connection ids of undecided messages; None means that of the wait."""
        return {self.targets[at].conn_id for _, at in self._due}

    def result(self) -> list[dict[str, Any]]:
        """Return the last status of each polled message as plain JSON.

        The readers are personal data, so they are included only with ``with_readers``.
        """
        seen = sorted({**self._last, **self._met}.items())
        return [status.to_json(self.targets[at].key, with_readers=self._with_readers) for at, status in seen]

    def state(self) -> WaitState:
        """Return the progress, from which another :class:`Wait` can resume."""
        return WaitState(
            polled_at=self._polled_at,
            used=dict(self.used),
            met_by_key={self.targets[at].key: seen for at, seen in self._met.items()},
            lost_keys=sorted(self.targets[at].key for at in self._lost),
            sent_keys=sorted(self.targets[at].key for at in self._sent),
        )

    # ── log texts ────────────────────────────────────────────────────────────────────────────────────

    def summary(self) -> str:
        """Describe the progress for the log, in the language of the option."""
        return in_each_language(self._summary, " ")

    def _summary(self) -> str:
        seen = {**self._last, **self._met}.values()
        states = Counter(status.send_status or choose("no status yet", "尚无状态") for status in seen)
        parts = [f"{number} {state}" for state, number in states.items()]
        if any(status.readers is not None for status in seen):
            readers = sum(status.readers or 0 for status in seen)
            parts.append(choose(f"{readers} readers", f"已读 {readers} 人次"))
        known = choose(", ", "，").join(parts) or choose("Nothing seen yet", "尚未查到状态")
        met, total, lost = len(self._met), len(self.targets), len(self._lost)
        return choose(
            f"{known}; {met} of {total} as wanted{f', {lost} can never be' if lost else ''}.",
            f"{known}；{total} 条中 {met} 条满足条件{f'，{lost} 条已不可能满足' if lost else ''}。",
        )

    def estimate(self) -> str:
        """Describe the expected API calls for the log, in the language of the option.

        They are polls × (undecided messages + further pages of readers).
        """
        now, end, most = self._clock.now(), self.wait_options.end, self.wait_options.max_api_calls
        number, pages = len(self._due), sum(status.extra_pages for status in self._last.values())
        limit = f"it stops after {most} calls (max_api_calls)"
        limit_zh = f"达到 {most} 次调用（max_api_calls）即停止"
        if end is None:
            return choose(
                f"Waiting for {number} messages without an end; {limit}.",
                f"正在等待 {number} 条消息，没有期限；{limit_zh}。",
            )
        oldest = max((now - self._anchor(at, now) for _, at in self._due), default=0.0)
        polls = self.wait_options.poll_schedule.count_polls(oldest, oldest + end - now)
        calls, left = polls * (number + pages), max(end - now, 0)
        return choose(
            f"Waiting for {number} messages for {left:.0f} s more: about {polls} polls × "
            f"({number} messages + {pages} further pages of readers) = {calls} calls at most; {limit}.",
            f"正在等待 {number} 条消息，还剩 {left:.0f} 秒：约 {polls} 次查询 ×"
            f"（{number} 条消息 + 已读人员的 {pages} 个后续页）= 最多 {calls} 次调用；{limit_zh}。",
        )

    def usage(self) -> str:
        """Describe the API calls used for the log, in the language of the option."""
        used = dict(sorted(self.used.items()))
        return choose(f"The wait used {self.calls} API calls: {used}.", f"等待共用 {self.calls} 次 API 调用：{used}。")

    # ── polling ──────────────────────────────────────────────────────────────────────────────────────

    async def poll(self, clients: DingTalkClient | Clients) -> None:
        """Poll all messages that are due.

        A temporary failure (an outage, a busy DingTalk) means "not yet".

        :param clients: Client for all messages, or function from a connection id (None means that of the wait) to
            its client. A connection without a client affects only its own messages.
        :raises MessageRecalledError: If a message was recalled, and the condition cannot be met any more.
        :raises TooManyCallsError: If the wait has used its maximum of API calls.
        :raises DingTalkError: If waiting is pointless for another reason.
        """
        began = self._clock.now()
        self._is_aborted, self._had_failure, self._failures = False, False, 0
        poll_message = partial(self._poll_message, _only(clients) if isinstance(clients, DingTalkClient) else clients)
        if len(self._due) == 1:
            # Most triggers have one message, which needs no worker pool.
            while (at := self._pop()) is not None:
                await poll_message(at)
        else:
            await run_workers(iter(self._pop, None), poll_message, workers=min(IN_FLIGHT, len(self._due)))
        if not self._had_failure:
            self._polled_at = began

    def _pop(self) -> int | None:
        """Dequeue the index of the next due message; None if none is due, or the poll is to end."""
        is_enough = self.condition.match == "any" and self._met
        if self._is_aborted or is_enough or not self._due or self._due[0][0] > self._clock.now() + _TICK:
            return None
        return heappop(self._due)[1]

    async def _poll_message(self, clients: Clients, at: int) -> None:
        target, now = self.targets[at], self._clock.now()
        of_kind = message_type(target.sender_key.kind)
        if obstacle := obstacle_of(target, self.condition):
            self._lose(at, error_of(target.key, obstacle))
            return
        try:
            client = await clients(target.conn_id)
            message_status = await of_kind.read_status(client, target, self._status_query(at, now))
        except TooManyCallsError:
            raise
        except DingTalkError as error:
            if error.permanent or isinstance(error, StatusUnavailableError):
                self._lose_all_like(at, error)
            else:
                self._postpone(at, error)
            return
        self._failures = 0
        self._judge(at, message_status, now)

    def _status_query(self, at: int, now: float) -> StatusQuery:
        return StatusQuery(
            readers=self.condition.asks_for_readers,
            now=now,
            used=self.used,
            # A caller that requests the names needs all of them, so no page is left out.
            enough=None if self._with_readers else self.condition,
            is_sent=at in self._sent,
            recipients=self.condition.needs_recipients,
            began=self.wait_options.began,
            before_call=self._count_call,
        )

    def _count_call(self) -> None:
        """Count a call before it is made, or raise an error if the maximum is used up."""
        # A call in flight is not in `calls` yet, and a call sent twice is in it twice, so the larger number counts.
        if max(self.calls, self._begun + self.used["token"]) >= self.wait_options.max_api_calls:
            most = self.wait_options.max_api_calls
            raise TooManyCallsError(
                f"The wait has used {self.calls} of {most} API calls.",
                message_zh=f"等待已用 {self.calls} 次 API 调用，上限 {most} 次。",
                code="max_api_calls",
                next_step="Wait for fewer messages, leave poke_interval out so that the gaps grow, "
                "or raise max_api_calls.",
            )
        self._begun += 1

    def _judge(self, at: int, status: MessageStatus, polled_at: float) -> None:
        obstacle = conditions.obstacle(status, self.condition)
        seen = LastStatus(
            status.send_status,
            None if status.readers is None else len(status.readers),
            status.has_more,
            status.readers if self._with_readers else None,
            status.dropped or None,
        )
        self._log_drops(status)
        if status.send_status == "SUCCESS" and message_type(self.targets[at].sender_key.kind).has_progress:
            self._sent.add(at)
        if not obstacle and conditions.evaluate(status, self.condition) is Judgement.MET:
            self._met[at] = seen
            self._last.pop(at, None)
            return
        self._last[at] = seen
        if obstacle:
            self._lose(at, error_of(status.key, obstacle))
        else:
            self._push(at, polled_at, self._planned(at, self._clock.now()))

    def _log_drops(self, status: MessageStatus) -> None:
        if status.dropped and status.key not in self._logged_drops:
            self._logged_drops.add(status.key)
            shown = ", ".join(f"{user} ({why})" for user, why in list(status.dropped.items())[:NAMED_IN_LOG])
            log.warning("DingTalk left out %d recipients of %s: %s", len(status.dropped), status.key, shown)

    def _lose_all_like(self, at: int, error: DingTalkError) -> None:
        """Lose a message and, without polls, all others that the error concerns."""
        target = self.targets[at]
        alike = {each for _, each in self._due if self.targets[each].conn_id == target.conn_id}
        if is_about_the_kind(error):
            alike = {each for each in alike if self.targets[each].sender_key.kind is target.sender_key.kind}
        elif not is_about_the_app(error):
            error.message_zh = f"消息 {target.key} 已不可能满足条件：{error.in_chinese}"
            error.message = f"The message {target.key} can never be as wanted: {error.message}"
            alike = set()
        if alike:
            self._lost |= alike
            self._due = [(due, each) for due, each in self._due if each not in self._lost]
            heapify(self._due)
        self._lose(at, error)

    def _lose(self, at: int, error: DingTalkError) -> None:
        """Record that a message can never meet the condition, and raise its error if that ends the wait."""
        self._lost.add(at)
        if self.condition.match == "all" or len(self._lost) == len(self.targets):
            error.permanent = True
            raise error
        if len(self._lost) <= NAMED_IN_LOG:
            log.warning("Going on without a message: %s", error)

    def _postpone(self, at: int, error: DingTalkError) -> None:
        """Schedule the retry of a failed poll, at the next planned poll at the latest unless DingTalk asks for more."""
        now, pause = self._clock.now(), float(getattr(error, "retry_after", 0.0))
        self._failures += 1
        self._had_failure = True
        if self._failures == 1 or pause:
            log.warning("%s", error)
        if pause or self._failures >= MAX_FAILURES_PER_POLL:
            self._is_aborted = True
            self._not_before = self._bounded(now + max(RETRY_AFTER, pause))
        gap = self.wait_options.poll_schedule.gap(now - self._anchor(at, now))
        soon = now + max(RETRY_AFTER, gap / 4)
        self._push(at, now, max(min(self._planned(at, now), soon), now + pause))

    # ── poll times ───────────────────────────────────────────────────────────────────────────────────

    def _anchor(self, at: int, now: float) -> float:
        """Return the Unix time from which a message's polls are counted."""
        began, sent = self.wait_options.began, self.targets[at].sent
        return began if self.wait_options.poll_schedule.is_fixed or sent is None else min(sent, began, now)

    def _planned(self, at: int, after: float) -> float:
        anchor = self._anchor(at, after)
        return anchor + self.wait_options.poll_schedule.next_poll(self.targets[at].key, after - anchor + _TICK)

    def _first(self, at: int, now: float) -> float:
        return now if self._polled_at is None else self._bounded(self._planned(at, self._polled_at))

    def _bounded(self, due: float) -> float:
        return due if self.wait_options.end is None else min(due, self.wait_options.end)

    def _push(self, at: int, now: float, due: float) -> None:
        # A poll at the end of the wait is the last one of a message, so it is not queued again.
        if self.wait_options.end is None or now + _TICK < self.wait_options.end:
            heappush(self._due, (self._bounded(due), at))


def _only(client: DingTalkClient) -> Clients:
    """Return a function that gives the same client for all connections."""

    async def client_of(_conn_id: str | None) -> DingTalkClient:
        return client

    return client_of


def _between(began: float, polled_at: float | None, now: float) -> float | None:
    """Limit a stored Unix time to the range from ``began`` to ``now``, so that no poll is planned outside of it.

    :returns: None if the time is missing or not finite.
    """
    if polled_at is None or not math.isfinite(polled_at):
        return None
    return max(min(polled_at, now), began)
