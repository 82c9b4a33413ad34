"""How a command ends: its exit statuses, and which error means which."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from airflow_provider_dingtalk.api.error_codes import rule_for
from airflow_provider_dingtalk.api.errors import (
    AuthenticationError,
    ConfigurationError,
    DingTalkError,
    InvalidInputError,
    NotSentError,
    PermissionDeniedError,
)


class Exit(IntEnum):
    """The exit statuses; also told by ``--help``."""

    DONE = 0
    LEFT = 1
    INPUT = 2
    REFUSED = 3
    UNREACHABLE = 4
    DECLINED = 5
    INTERRUPTED = 130


class AirflowRefusedError(DingTalkError):
    """Airflow's REST API wants another login, or more permissions."""

    permanent = True


class AirflowUnreachableError(DingTalkError):
    """Airflow's REST API cannot be reached, or answers what it should not."""


class DeclinedError(DingTalkError):
    """Whoever was asked said no."""


_EXITS: tuple[tuple[type[DingTalkError], Exit], ...] = (
    (InvalidInputError, Exit.INPUT),
    (ConfigurationError, Exit.REFUSED),
    (AuthenticationError, Exit.REFUSED),
    (PermissionDeniedError, Exit.REFUSED),
    (AirflowRefusedError, Exit.REFUSED),
    (AirflowUnreachableError, Exit.UNREACHABLE),
    (NotSentError, Exit.UNREACHABLE),
    (DeclinedError, Exit.DECLINED),
)


def exit_of(error: DingTalkError) -> Exit:
    """The exit status of a command that ended with an error."""
    return next((status for kind, status in _EXITS if isinstance(error, kind)), Exit.LEFT)


def exit_of_codes(codes: Iterable[str]) -> Exit:
    """The exit status when nothing at all was done, by the codes that DingTalk gave for it."""
    statuses = {_exit_of_code(code) for code in codes}
    return statuses.pop() if len(statuses) == 1 else Exit.LEFT


def _exit_of_code(code: str) -> Exit:
    if code == "not_sent":
        return Exit.UNREACHABLE
    refusals = (AuthenticationError, PermissionDeniedError)
    return Exit.REFUSED if issubclass(rule_for(code).error, refusals) else Exit.LEFT
