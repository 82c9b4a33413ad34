"""Errors of jobs as errors of Airflow, and signals inside a task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_dingtalk.exceptions import DingTalkError
from airflow_provider_dingtalk.version_compat import AirflowFailException


class DeferRequested(Exception):
    """Signal to defer the task for some seconds, 60 or more, until DingTalk accepts calls again."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class NothingToWaitFor(Exception):
    """Signal that a sensor's receipts are empty: the send was skipped, or mapped over an empty list."""


@contextmanager
def airflow_errors() -> Iterator[None]:
    """Turn permanent errors into the one that Airflow does not retry.

    Other errors pass unchanged, for ``ExceptionRetryPolicy`` to classify.

    :raises AirflowFailException: If the error is permanent.
    """
    try:
        yield
    except DingTalkError as error:
        if not error.permanent:
            raise
        # Airflow logs the frames of both errors after the report, and the text says it all.
        raise AirflowFailException(str(error)) from error.with_traceback(None)
