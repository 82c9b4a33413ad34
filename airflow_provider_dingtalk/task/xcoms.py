"""Keys of the XComs that a task which sends pushes, and that rollbacks and commands read."""

from __future__ import annotations

#: Receipts, in chunks of :data:`RECEIPTS_PER_XCOM`; the first missing number ends them.
RECEIPTS = "receipts_{}"
RECEIPTS_PER_XCOM = 100
#: How many receipts there are in all chunks.
RECEIPTS_COUNT = "receipts_count"
#: Receipts of messages that a try sent after the next try had begun. The chunks belong to the next try.
RECEIPTS_LATE = "receipts_late"
#: Receipts of messages that report a failure of the task: the rollback of its block leaves them in the chat.
ALERT_RECEIPTS = "alert_receipts"
#: ``{"is_over": bool, "rollbacks": [task id, …]}``: whether sends are under way, and which rollbacks own them.
SENDING = "sending"
#: Calls that may or may not have sent: ``[{"to": [...], "code": ..., "message": ..., "next_step": ...}]``.
UNKNOWN = "unknown"
#: People whom DingTalk left out of a send that it accepted: ``{user id: reason}``.
DROPPED = "dropped"
#: Receivers that DingTalk refused, in the shape of :data:`UNKNOWN`.
REFUSED = "refused"
