"""Receipts from a task's XComs, for rollbacks, sweeps and commands alike.

Registered receipts count. Receipts in a task's return value count if its instances did not all register receipts. A
registered receipt that cannot be read is counted as missing, because its message may be in a chat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any, Protocol

from msgspec import Struct, field

from airflow_provider_dingtalk.exceptions import MissingReceiptsError, SendsInDoubtError
from airflow_provider_dingtalk.language import get_logger
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from airflow_provider_dingtalk.messages.receipt_parser import MAX_DEPTH
from airflow_provider_dingtalk.task import xcoms
from airflow_provider_dingtalk.task.arguments import parse_receipts

log = get_logger(__name__)


class TaskXComs(Protocol):
    """XComs that one task of a run pushed.

    :ivar task_id: Id of the task.
    :ivar instances: Number of its instances; more than one if it is mapped.
    :ivar is_running: True if an instance may still push XComs.
    :ivar is_settled: True if no instance sends any more, so that a chunk of receipts that is not full is its last.
    :ivar hides_values: True if a text may stand for a value that a custom XCom backend keeps elsewhere.
    """

    task_id: str
    instances: int
    is_running: bool
    is_settled: bool
    hides_values: bool

    def pull(self, key: str) -> list[Any]:
        """Return the values of all instances under a key, without missing ones."""
        ...


class SentMessages(Struct):
    """Messages that tasks sent.

    :param receipts: Receipts of messages that can be recalled, each once.
    :param missing: Number of registered receipts that cannot be read, by task id.
    :param in_doubt: Maximum number of calls that sent a message without a receipt, by task id.
    """

    receipts: list[Receipt] = field(default_factory=list)
    missing: dict[str, int] = field(default_factory=dict)
    in_doubt: dict[str, int] = field(default_factory=dict)


def _first_five(numbers: dict[str, int]) -> str:
    """Return the first five task ids with their numbers."""
    return ", ".join(f"{clean(task_id)} ({number})" for task_id, number in list(numbers.items())[:5])


def missing_error(missing: dict[str, int]) -> MissingReceiptsError:
    """Return the error that names the tasks whose receipts cannot be read."""
    return MissingReceiptsError(
        f"{sum(missing.values())} registered receipts cannot be read: {_first_five(missing)}. "
        "Their messages may be in chats.",
        message_zh=f"{sum(missing.values())} 个已登记的回执无法读取：{_first_five(missing)}。其消息可能仍在会话中。",
        code="missing_receipts",
        next_step="Recall by keys. Receipts are missing if XComs were deleted, and in the REST API if a "
        "custom XCom backend keeps them elsewhere.",
    )


def in_doubt_error(in_doubt: dict[str, int]) -> SendsInDoubtError:
    """Return the error that names the tasks whose sends are in doubt."""
    return SendsInDoubtError(
        f"At most {sum(in_doubt.values())} sends put a message into a chat and left no receipt: "
        f"{_first_five(in_doubt)}.",
        message_zh=f"最多 {sum(in_doubt.values())} 次发送把消息发到了会话，却没有留下回执：{_first_five(in_doubt)}。",
        code="send_in_doubt",
        next_step="Look into the chats; a message without a receipt cannot be recalled. The send's XCom 'unknown' "
        "names the receivers, unless its worker was killed.",
    )


def merge(found: Iterable[SentMessages]) -> SentMessages:
    """Merge the messages that several tasks sent; each message is kept once."""
    parts = list(found)
    receipts = [receipt for one in parts for receipt in one.receipts]
    return SentMessages(
        list({receipt.key: receipt for receipt in reversed(receipts)}.values())[::-1],
        sum_by_task(one.missing for one in parts),
        sum_by_task(one.in_doubt for one in parts),
    )


def sum_by_task(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums of several counts by task id."""
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)


def sent_by(task: TaskXComs, *, alerts: bool = False) -> SentMessages:
    """Return the messages that a task sent.

    :param alerts: True to include messages that report a failure of the task; default False.
    """
    receipts, in_chunks, missing, instances = _registered(task)
    if missing:
        # A task that is being stopped may have sent between two pulls, so the receipts are read again.
        receipts, in_chunks, missing, instances = _registered(task)
    if instances < task.instances or missing:
        known = {receipt.key for receipt in receipts}
        items = [item for value in task.pull(xcoms.RETURN_VALUE) for item in _receipt_like(value)]
        returned = [receipt for item in items for receipt in _read_item(task, item) if receipt.key not in known]
        receipts, missing = receipts + returned, max(missing - len(returned), 0)
    if alerts:
        receipts = receipts + [one for chunk in task.pull(xcoms.ALERT_RECEIPTS) for one in _read(task, chunk)]
    in_doubt = _in_doubt(task, in_chunks, alerts=alerts)
    return SentMessages(
        receipts, {task.task_id: missing} if missing else {}, {task.task_id: in_doubt} if in_doubt else {}
    )


def _registered(task: TaskXComs) -> tuple[list[Receipt], int, int, int]:
    """Return the registered receipts, and the numbers of those in chunks, unreadable ones, and instances with any."""
    chunks = list(_until_empty(task, xcoms.RECEIPTS))
    receipts = [receipt for values in chunks for chunk in values for receipt in _read(task, chunk)]
    items = [len(chunk) for values in chunks for chunk in values if isinstance(chunk, list)]
    # Chunks are filled one after the other, so where none is full the number of receipts says nothing more.
    is_whole = task.is_settled and sum(items) == len(receipts) and max(items, default=0) < xcoms.RECEIPTS_PER_XCOM
    registered = 0 if is_whole or not chunks else number_of(task.pull(xcoms.RECEIPTS_COUNT))
    hidden = sum(isinstance(chunk, str) for values in chunks for chunk in values) if task.hides_values else 0
    missing = max(registered - len(receipts), hidden)
    # Late receipts are not in the chunks, because the chunks belong to the later try.
    known, in_chunks = {receipt.key for receipt in receipts}, len(receipts)
    late = [receipt for chunk in task.pull(xcoms.RECEIPTS_LATE) for receipt in _read(task, chunk)]
    receipts += [receipt for receipt in late if receipt.key not in known]
    return receipts, in_chunks, missing, len(chunks[0]) if chunks else 0


def _in_doubt(task: TaskXComs, receipts: int, *, alerts: bool) -> int:
    """Return the maximum number of a task's calls that may have sent without a receipt.

    :param receipts: Number of its receipts in chunks. Late ones are of calls that the XCom ``sending`` does not count.
    """
    unknown = [one for value in task.pull(xcoms.UNKNOWN) if isinstance(value, list) for one in value]
    listed = len(unknown) if alerts else sum(not _is_alert(one) for one in unknown)
    if listed < len(unknown):
        log.info("Alerts of task %s may be in chats; a rollback leaves alerts there.", clean(task.task_id))
    # A killed worker could not list its calls in flight.
    interrupted = [] if task.is_running else [value for value in task.pull(xcoms.SENDING) if is_sending(value)]
    return listed + sum(_most_in_doubt(value, receipts if task.instances == 1 else 0) for value in interrupted)


def _is_alert(unknown: Any) -> bool:
    """Return True for an unknown call that reports a failure."""
    return isinstance(unknown, dict) and xcoms.ALERT_MARK.items() <= unknown.items()


def _most_in_doubt(sending: Mapping[str, Any], receipts: int) -> int:
    """Return the maximum number of calls that an interrupted send left in doubt; 1 if an older version sent."""
    at_a_time, calls, before = (sending.get(name) for name in ("at_a_time", "calls", "receipts"))
    if not (isinstance(at_a_time, int) and isinstance(calls, int) and isinstance(before, int)):
        return 1
    return max(min(at_a_time, calls - max(receipts - before, 0)), 0)


def is_sending(value: Any) -> bool:
    """Return True if the XCom ``sending`` says that sends are in flight."""
    return isinstance(value, dict) and value.get("is_over") is False


def recalled_by(task: TaskXComs) -> set[str]:
    """Return the keys of the messages that a task recalled."""
    return {name for values in _until_empty(task, xcoms.RECALLED) for name in names_in(values)}


def names_in(chunks: Iterable[Any]) -> Iterator[str]:
    """Yield the message keys in values of the XComs ``recalled_0``, …"""
    yield from (name for chunk in chunks if isinstance(chunk, list) for name in chunk if isinstance(name, str))


def number_of(values: Iterable[Any]) -> int:
    """Return the sum of counts; other values add 0."""
    return sum(value for value in values if isinstance(value, int) and not isinstance(value, bool) and value > 0)


def clean(text: Any) -> str:
    """Return at most 300 characters of a foreign text, without control characters, for logs and terminals."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text)[:300])


def _until_empty(task: TaskXComs, key: str) -> Iterator[list[Any]]:
    for number in count():
        if not (values := task.pull(key.format(number))):
            return
        yield values


def _read(task: TaskXComs, chunk: Any) -> Iterator[Receipt]:
    """Yield the receipts of a chunk, and skip all other items."""
    try:
        yield from parse_receipts(chunk)
    except Exception:
        for item in chunk if isinstance(chunk, list) else [chunk]:
            yield from _read_item(task, item)


def _read_item(task: TaskXComs, item: Any) -> list[Receipt]:
    try:
        return parse_receipts([item])
    except Exception as error:
        # Another program may push a value of any shape, so any error is possible.
        log.warning("Ignoring a value of task %s that is not a receipt (%s).", clean(task.task_id), clean(error))
        return []


def _receipt_like(value: Any, depth: int = MAX_DEPTH) -> Iterator[Any]:
    """Yield the parts of a value, down to a depth, that look like receipts."""
    if _looks_like_receipt(value):
        yield value
    elif isinstance(value, dict | list | tuple) and depth:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _receipt_like(item, depth - 1)


def holds_receipts(value: Any) -> bool:
    """Return True if a value, as Airflow stores it, may hold a receipt that is read."""
    # Airflow stores a tuple or an object in up to two dicts, for its type and its data.
    return any(True for _ in _receipt_like(value, 3 * MAX_DEPTH))


def _looks_like_receipt(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str) or value["kind"] not in tuple(Kind):
        return False
    of_kind = message_type(value["kind"])
    if not value.get(of_kind.key_field):
        return False
    return "version" in value or all(value.get(name) for name in of_kind.sender_fields)
