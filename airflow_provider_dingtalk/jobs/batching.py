"""Plan of a recall as pure functions: distinct messages, batches, and their order."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.receipt import Receipt, SenderKey


class Batch(Struct, frozen=True, gc=False):
    """Batch of messages for one recall call."""

    sender_key: SenderKey
    keys: tuple[str, ...]


def unique(receipts: Iterable[Receipt]) -> dict[str, Receipt]:
    """Return receipts by key, one for each message.

    Of two receipts of one message, the one that names its connection is kept.

    :raises InvalidInputError: If a key comes with two different senders or conversations.
    """
    by_key: dict[str, Receipt] = {}
    for receipt in receipts:
        known = by_key.setdefault(receipt.key, receipt)
        if known.conn_id is None and receipt.conn_id is not None:
            by_key[receipt.key] = receipt
        if known.sender_key != receipt.sender_key:
            problem = f"{receipt.key[:80]!r} comes with two different kinds, robots, agents or conversations"
            raise InvalidInputError("receipts", problem)
    return by_key


def is_too_old(receipt: Receipt, now: float) -> bool:
    """Return True if a message's ``sent_at`` is before its type's recall window.

    :param now: Unix time in seconds.
    """
    window, sent = message_type(receipt.kind).recall_window, receipt.sent()
    return window is not None and sent is not None and now - sent > window


def batches(receipts: Iterable[Receipt]) -> list[Batch]:
    """Return the batches to recall, the most urgent first."""
    by_sender: dict[SenderKey, list[Receipt]] = {}
    for receipt in by_urgency(receipts):
        by_sender.setdefault(receipt.sender_key, []).append(receipt)
    planned: list[tuple[float, Batch]] = []
    for sender_key, members in by_sender.items():
        size = message_type(sender_key.kind).batch_size
        for start in range(0, len(members), size):
            keys = tuple(receipt.key for receipt in members[start : start + size])
            planned.append((_urgency(members[start]), Batch(sender_key, keys)))
    return [batch for _, batch in sorted(planned, key=lambda item: item[0])]


def by_urgency(receipts: Iterable[Receipt]) -> list[Receipt]:
    """Sort messages by the end of their recall window, the earliest first."""
    return sorted(receipts, key=_urgency)


def _urgency(receipt: Receipt) -> float:
    """Return the sort key of a message, which is its send time.

    Messages of unknown age sort first, those without a recall window last.
    """
    if message_type(receipt.kind).recall_window is None:
        return float("inf")
    sent = receipt.sent()
    return float("-inf") if sent is None else sent


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """Split a refused batch in two, to find the refused key."""
    middle = len(batch.keys) // 2
    return Batch(batch.sender_key, batch.keys[:middle]), Batch(batch.sender_key, batch.keys[middle:])
