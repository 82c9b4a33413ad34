"""Alarms that interrupt a call to the sandbox."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow_provider_dingtalk.sandbox.testing import SandboxServer


@contextmanager
def alarm_at_call(sandbox: SandboxServer, api: str, number: int) -> Iterator[None]:
    """Send this process the alarm signal when the ``number``-th call of an API has arrived."""
    is_over = threading.Event()

    def wait_spec() -> None:
        while not is_over.wait(0.001):
            arrived = sandbox.state.journal.calls.get(api)
            if arrived and arrived.total >= number:
                signal.setitimer(signal.ITIMER_REAL, 0.001)
                return

    thread = threading.Thread(target=wait_spec, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@contextmanager
def raising_on_alarm(kind: type[BaseException]) -> Iterator[None]:
    """Let the alarm signal raise, as Airflow's timeouts do."""

    def handler(number: int, frame: Any) -> None:
        raise kind("interrupted")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
