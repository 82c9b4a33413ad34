"""Exit codes of the commands, and the code of each error."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from airflow_provider_dingtalk import exceptions
from airflow_provider_dingtalk.client.error_codes import rule_for


class ExitCode(IntEnum):
    """Exit codes, also listed by ``--help``."""

    DONE = 0
    LEFT = 1
    INPUT = 2
    REFUSED = 3
    UNREACHABLE = 4
    DECLINED = 5
    INTERRUPTED = 130


_REFUSALS = (exceptions.AuthenticationError, exceptions.PermissionDeniedError)
_BY_ERROR: dict[type[exceptions.DingTalkError] | tuple[type[exceptions.DingTalkError], ...], ExitCode] = {
    exceptions.InvalidInputError: ExitCode.INPUT,
    (exceptions.ConfigurationError, exceptions.AirflowRefusedError, *_REFUSALS): ExitCode.REFUSED,
    (exceptions.AirflowUnreachableError, exceptions.ConnectionFailedError): ExitCode.UNREACHABLE,
    exceptions.DeclinedError: ExitCode.DECLINED,
}


def exit_code_of(error: exceptions.DingTalkError) -> ExitCode:
    """Return the exit code of a command that ended with an error."""
    return next((code for kinds, code in _BY_ERROR.items() if isinstance(error, kinds)), ExitCode.LEFT)


def exit_code_of_failures(codes: Iterable[str]) -> ExitCode:
    """Return the exit code for DingTalk's error codes if nothing was done."""
    found = {_exit_code_of_failure(code) for code in codes}
    return found.pop() if len(found) == 1 else ExitCode.LEFT


def _exit_code_of_failure(code: str) -> ExitCode:
    if code == "not_sent":
        return ExitCode.UNREACHABLE
    return ExitCode.REFUSED if issubclass(rule_for(code).error, _REFUSALS) else ExitCode.LEFT
