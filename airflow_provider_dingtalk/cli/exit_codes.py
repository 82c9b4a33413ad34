"""Exit statuses of the commands, and the status of each error."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from airflow_provider_dingtalk.client.error_codes import rule_for
from airflow_provider_dingtalk.exceptions import (
    AirflowRefusedError,
    AirflowUnreachableError,
    AuthenticationError,
    ConfigurationError,
    ConnectionFailedError,
    DeclinedError,
    DingTalkError,
    InvalidInputError,
    PermissionDeniedError,
)


class Exit(IntEnum):
    """Exit statuses, also listed by ``--help``."""

    DONE = 0
    LEFT = 1
    INPUT = 2
    REFUSED = 3
    UNREACHABLE = 4
    DECLINED = 5
    INTERRUPTED = 130


_EXITS: tuple[tuple[type[DingTalkError], Exit], ...] = (
    (InvalidInputError, Exit.INPUT),
    (ConfigurationError, Exit.REFUSED),
    (AuthenticationError, Exit.REFUSED),
    (PermissionDeniedError, Exit.REFUSED),
    (AirflowRefusedError, Exit.REFUSED),
    (AirflowUnreachableError, Exit.UNREACHABLE),
    (ConnectionFailedError, Exit.UNREACHABLE),
    (DeclinedError, Exit.DECLINED),
)


def exit_of(error: DingTalkError) -> Exit:
    """Return the exit status of a command that ended with an error."""
    return next((status for kind, status in _EXITS if isinstance(error, kind)), Exit.LEFT)


def exit_of_codes(codes: Iterable[str]) -> Exit:
    """Return the exit status for DingTalk's error codes if nothing was done."""
    statuses = {_exit_of_code(code) for code in codes}
    return statuses.pop() if len(statuses) == 1 else Exit.LEFT


def _exit_of_code(code: str) -> Exit:
    if code == "not_sent":
        return Exit.UNREACHABLE
    refusals = (AuthenticationError, PermissionDeniedError)
    return Exit.REFUSED if issubclass(rule_for(code).error, refusals) else Exit.LEFT
