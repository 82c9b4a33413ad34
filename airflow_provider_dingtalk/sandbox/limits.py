"""Limits of the control API, so that no request exhausts the memory or time of the sandbox."""

from __future__ import annotations

MAX_BODY_BYTES = 8 * 2**20
#: Messages that control requests can create until the next reset, and those of one request.
MAX_MESSAGES = 500_000
MAX_MESSAGES_PER_REQUEST = 100_000
#: ``count`` times the bytes of a request that creates messages, and ``count`` times ``readers``.
MAX_CREATED_BYTES = 200_000_000
MAX_CREATED_READERS = 1_000_000
MAX_PEOPLE = 100_000
MAX_CONVERSATIONS = 10_000
MAX_RULES = 100
#: Maximum distance of the clock from the real time, in seconds: ten years.
MAX_CLOCK_OFFSET = 10 * 366 * 86_400


class LimitError(ValueError):
    """Value of a control request that is over a limit.

    :param field: Name of the field.
    :param limit: Largest value allowed.
    :param unit: Unit of the limit, for the text.
    :param status: HTTP status; default 400.
    """

    def __init__(self, field: str, limit: int, unit: str, status: int = 400) -> None:
        super().__init__(f"Invalid {field}: over the limit of {limit} {unit}")
        self.field = field
        self.limit = limit
        self.status = status

    def body(self) -> dict[str, str | int]:
        """Return the JSON of the response."""
        return {"error": str(self), "field": self.field, "limit": self.limit}


def check(field: str, value: float, limit: int, unit: str) -> None:
    """Check a value against a limit.

    :raises LimitError: If the value is over the limit.
    """
    if value > limit:
        raise LimitError(field, limit, unit)
