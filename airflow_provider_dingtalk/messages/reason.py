"""Reason of a failed message, with the next step."""

from __future__ import annotations

from functools import cache

from msgspec import Struct

from airflow_provider_dingtalk.exceptions import DingTalkError
from airflow_provider_dingtalk.language import choose

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


def advice(next_step: str) -> str:
    """Return a next step in the language of the option ``[dingtalk] language``.

    :param next_step: Next step of a reason in a report, which is English.
    """
    return choose(next_step, chinese_of_tables().get(next_step, ""))


@cache
def chinese_of_tables() -> dict[str, str]:
    """Return the Chinese of the next steps in the tables of the client."""
    # A report without a reason needs none of the tables, nor the HTTP libraries.
    from airflow_provider_dingtalk.client import error_codes, unreachable

    rules = (*error_codes.CODES.values(), error_codes.rule_for(""))
    causes = (cause for cause in vars(unreachable).values() if isinstance(cause, unreachable.Cause))
    return {rule.next_step: rule.next_step_zh for rule in rules} | {one.next_step: one.next_step_zh for one in causes}
