"""Keys of all XComs that tasks of this package push and read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

#: Value that a task returned.
RETURN_VALUE = "return_value"

# ── sends ────────────────────────────────────────────────────────────────────────────────────────────

#: Receipts, in chunks of :data:`RECEIPTS_PER_XCOM`; the first missing number ends them.
RECEIPTS = "receipts_{}"
RECEIPTS_PER_XCOM = 100
#: Field of a receipt in an XCom: id of the run that sent it. Airflow lists XComs of many runs without their runs.
_RUN_ID = "run_id"
#: Number of receipts in all chunks.
RECEIPTS_COUNT = "receipts_count"
#: Receipts of messages that a try sent after the next try began, because the chunks belong to the next try.
RECEIPTS_LATE = "receipts_late"
#: Receipts of messages that report a failure of the task. The rollback of its block does not recall them.
ALERT_RECEIPTS = "alert_receipts"
#: ``{"is_over": bool, "rollbacks": [task id, …]}``: True if no send is in flight, and the rollbacks of the task. While
#: one is, also ``at_a_time``: maximum calls in doubt; ``calls``: all calls, those in doubt of earlier tries included;
#: ``receipts``: number of receipts before these calls.
SENDING = "sending"
#: Calls that may or may not have sent: ``[{"to": [...], "code": ..., "message": ..., "next_step": ...}]``.
UNKNOWN = "unknown"
#: Field of an unknown call that reports a failure of the task. The rollback of its block does not count it.
ALERT_MARK = {"is_alert": True}
#: People that DingTalk left out of a send that it accepted: ``{user id: reason}``.
DROPPED = "dropped"
#: Receivers that DingTalk refused, in the shape of :data:`UNKNOWN`.
REFUSED = "refused"

# ── recalls ──────────────────────────────────────────────────────────────────────────────────────────

#: Report of a recall, as plain JSON.
REPORT = "report"
#: Keys of recalled messages, in lists of :data:`KEYS_PER_XCOM`, about 250 kB. Airflow takes 15 ms for each XCom.
RECALLED = "recalled_{}"
KEYS_PER_XCOM = 5000
#: Number of messages that a rollback kept because no task failed.
KEPT = "kept"
#: The same of a rollback that then failed by a mistake in its arguments.
KEPT_BEFORE_ERROR = "kept_before_error"
#: Plan of a rollback with ``dry_run``.
PLAN = "plan"
#: User ids of all readers of the messages to recall.
READERS = "readers"


def is_chunk_of_receipts(key: str) -> bool:
    """Return True for a key of :data:`RECEIPTS`."""
    return key.removeprefix(RECEIPTS.format("")).isdecimal()


def with_run_id(receipts: Iterable[Mapping[str, Any]], run_id: str) -> list[dict[str, Any]]:
    """Return receipts, as plain JSON, with the id of the run that sent them."""
    return [{**receipt, _RUN_ID: run_id} for receipt in receipts]


def run_id_of(chunk: Any) -> str | None:
    """Return the id of the run that all receipts of a chunk name; None if they name none, or several."""
    items = chunk if isinstance(chunk, list) else []
    names = [item.get(_RUN_ID) if isinstance(item, dict) else None for item in items]
    return names[0] if names and isinstance(names[0], str) and names == names[:1] * len(names) else None


def push_recalled(push: Callable[[str, Any], object], keys: Sequence[str]) -> None:
    """Push the keys of recalled messages, so that other tasks leave them out.

    :param push: Function that receives each key of an XCom and its value.
    """
    for number, start in enumerate(range(0, len(keys), KEYS_PER_XCOM)):
        push(RECALLED.format(number), list(keys[start : start + KEYS_PER_XCOM]))
