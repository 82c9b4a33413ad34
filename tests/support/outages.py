"""An API server of Airflow that is away for a while, on a clock of the test."""

from __future__ import annotations

from typing import Any

from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse

from airflow_provider_dingtalk.task.api_server import ApiServer
from tests.clock import VirtualClock

REFUSED = {"status_code": None, "message": "[Errno 111] Connection refused", "exception_type": "ConnectError"}


def supervisor_error(detail: dict[str, Any] | None = None, error: ErrorType = ErrorType.API_SERVER_ERROR) -> Exception:
    """Return the error that a task gets from its supervisor; default that of a refused connection."""
    return AirflowRuntimeError(ErrorResponse(error=error, detail=REFUSED if detail is None else detail))


def server_of_outages(clock: VirtualClock, timeout: float = 120.0) -> ApiServer:
    """Return an API server whose waits move a test's clock."""
    return ApiServer(timeout, clock=clock, sleep=clock.advance)


class Away:
    """Object of Airflow whose methods fail while the API server is away.

    :param original: Object with the methods.
    :ivar attempts: Number of requests, answered or not.
    """

    def __init__(self, original: Any, clock: VirtualClock) -> None:
        self._original = original
        self._clock = clock
        self._until = clock.monotonic()
        self.attempts = 0

    def leave(self, seconds: float) -> None:
        """Be away for some seconds, from now on."""
        self._until = self._clock.monotonic() + seconds

    @property
    def is_away(self) -> bool:
        """True if requests fail now."""
        return self._clock.monotonic() < self._until

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._original, name)
        if not callable(found):
            return found

        def ask(*arguments: Any, **named: Any) -> Any:
            self.attempts += 1
            if self.is_away:
                raise supervisor_error()
            return found(*arguments, **named)

        return ask
