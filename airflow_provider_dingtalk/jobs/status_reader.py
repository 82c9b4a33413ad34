"""Concurrent polls of many messages, the most urgent first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.clock import Clock, SystemClock
from airflow_provider_dingtalk.exceptions import DingTalkError, StatusUnavailableError
from airflow_provider_dingtalk.jobs import batching, recall_results
from airflow_provider_dingtalk.jobs.circuit_breaker import MAX_OUTAGES
from airflow_provider_dingtalk.jobs.worker_pool import run_workers
from airflow_provider_dingtalk.language import get_logger
from airflow_provider_dingtalk.messages.conditions import MessageStatus, target_of
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.read_status import StatusQuery
from airflow_provider_dingtalk.messages.reason import Reason
from airflow_provider_dingtalk.messages.receipt import Receipt, SenderKey

log = get_logger(__name__)

#: Function from a connection's id, or None, to its client.
Clients: TypeAlias = Callable[[str | None], Awaitable[DingTalkClient]]
#: Maximum messages polled at once. Under a rate limit, the client allows no more.
IN_FLIGHT = 10
#: Consecutive failures of a connection after which it gets no further calls, since none would succeed now.
MAX_FAILURES = 10

_Identity: TypeAlias = tuple[str | None, SenderKey, str]


class StatusReader:
    """Status reader for many messages.

    An error of one message is the outcome of that message. An error that concerns its chat, kind or connection is
    the outcome of all their messages, without further calls.

    :param receipts: Receipts of the messages; duplicates are polled once.
    :param readers: True to fetch the readers.
    :param now: Current Unix time in seconds, to compute ages; default: that of ``clock``.
    :param clock: Source of time; default: the system's.
    :param is_quiet: True if errors of messages are not logged, because the caller tells of them; default False.
    :ivar used: Counter of the API calls by purpose.
    """

    def __init__(
        self,
        receipts: Iterable[Receipt],
        *,
        readers: bool,
        now: float | None = None,
        clock: Clock | None = None,
        is_quiet: bool = False,
    ) -> None:
        self._is_quiet = is_quiet
        self._receipts = {_identity(receipt): receipt for receipt in receipts}
        self._readers = readers
        self._now = (clock or SystemClock()).now() if now is None else now
        self._statuses: dict[_Identity, MessageStatus] = {}
        self._errors: dict[_Identity, DingTalkError] = {}
        #: Errors of all messages of a connection, or of one of its kinds or senders.
        self._shared_errors: dict[object, DingTalkError] = {}
        self._failures: Counter[str | None] = Counter()
        self.is_stopped = False
        self.used: Counter[str] = Counter()

    @property
    def connections(self) -> tuple[str | None, ...]:
        """Connection ids of the messages; None means that of the task."""
        return tuple(dict.fromkeys(receipt.conn_id for receipt in self._receipts.values()))

    async def run(self, clients: Clients) -> None:
        """Poll all messages.

        :raises DingTalkError: If no connection works, if a connection failed temporarily, or if all messages
            failed and one of them temporarily.
        """
        todo = batching.by_urgency(self._receipts.values())
        await run_workers(todo, lambda receipt: self._poll(receipt, clients), workers=min(IN_FLIGHT, len(todo)))
        self._raise_if_no_result()
        if self._is_quiet:
            return
        # Thousands of messages may have the same error, so each text is logged once.
        errors = {str(error): error for error in self._errors.values()}
        for text, number in Counter(map(str, self._errors.values())).most_common(3):
            log.warning("The state of %d messages is not known: %s", number, errors[text])

    def stop(self) -> None:
        """Begin no further call."""
        self.is_stopped = True

    def status_of(self, receipt: Receipt) -> MessageStatus | None:
        """Return the status of a message; None if it was not polled."""
        return self._statuses.get(_identity(receipt))

    async def _poll(self, receipt: Receipt, clients: Clients) -> None:
        if self.is_stopped:
            return
        identity, error = _identity(receipt), self._known_error(receipt)
        if error is None:
            try:
                client = await clients(receipt.conn_id)
                query = StatusQuery(readers=self._readers, now=self._now, used=self.used)
                status = await message_type(receipt.kind).read_status(client, target_of(receipt), query)
            except DingTalkError as caught:
                error = caught
                self._share(receipt, caught)
            else:
                self._failures[receipt.conn_id] = 0
                self._statuses[identity] = status
                return
        self._errors[identity] = error
        self._statuses[identity] = MessageStatus(
            key=receipt.key, send_status=None, recipients=receipt.recipients, error=Reason.of(error)
        )

    def _known_error(self, receipt: Receipt) -> DingTalkError | None:
        """Return the error of all messages like this one, if any."""
        conn_id, sender_key = receipt.conn_id, receipt.sender_key
        scopes = (conn_id, (conn_id, sender_key.kind), (conn_id, sender_key))
        return next((self._shared_errors[scope] for scope in scopes if scope in self._shared_errors), None)

    def _share(self, receipt: Receipt, error: DingTalkError) -> None:
        """Record an error for all messages that it concerns."""
        conn_id, sender_key = receipt.conn_id, receipt.sender_key
        self._failures[conn_id] += _is_temporary(error)
        most = MAX_OUTAGES if recall_results.is_outage(error) else MAX_FAILURES
        is_down = recall_results.pause_of(error) or self._failures[conn_id] >= most
        if is_down or recall_results.is_about_the_app(error):
            self._shared_errors.setdefault(conn_id, error)
        elif recall_results.is_about_the_kind(error):
            self._shared_errors.setdefault((conn_id, sender_key.kind), error)
        elif recall_results.stops_sender(error):
            self._shared_errors.setdefault((conn_id, sender_key), error)

    def _raise_if_no_result(self) -> None:
        refused = [self._shared_errors[conn_id] for conn_id in self.connections if conn_id in self._shared_errors]
        unread = self._errors.values() if len(self._errors) == len(self._statuses) else ()
        # After a temporary failure (a ban, an outage) all messages can be read later, so it is not an outcome.
        for error in (*refused, *unread):
            if _is_temporary(error):
                raise error
        if refused and len(refused) == len(self.connections):
            raise refused[0]


def _identity(receipt: Receipt) -> _Identity:
    return receipt.conn_id, receipt.sender_key, receipt.key


def _is_temporary(error: DingTalkError) -> bool:
    return not error.permanent and not isinstance(error, StatusUnavailableError)
