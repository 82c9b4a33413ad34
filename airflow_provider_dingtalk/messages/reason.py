"""Reason of a failed message, with the next step."""

from __future__ import annotations

from msgspec import Struct

from airflow_provider_dingtalk.exceptions import DingTalkError

#: Code of an error that came without one, such as a proxy's 502.
NO_CODE = "no_code"
#: Maximum length of a message in a report, in characters.
_MAX_MESSAGE = 300


class Reason(Struct, frozen=True, gc=False):
    """Reason why a message is not recalled, and the next step.

    :param code: DingTalk's code, or a code of this package in snake_case.
    """

    code: str
    message: str
    next_step: str

    @classmethod
    def of(cls, error: DingTalkError) -> Reason:
        """Return the reason that an error gives."""
        return cls(error.code or NO_CODE, error.message[:_MAX_MESSAGE], error.next_step)

    def to_json(self) -> dict[str, str]:
        """Return the reason as plain JSON."""
        return {"code": self.code, "message": self.message, "next_step": self.next_step}
