"""The clock of the operating system."""

from __future__ import annotations

import time

import pytest

from airflow_provider_dingtalk.client.clock import Clock, SystemClock

pytestmark = pytest.mark.anyio


async def test_it_reads_the_time_and_waits() -> None:
    clock: Clock = SystemClock()
    before, began = time.time(), time.monotonic()
    await clock.sleep(0.01)
    assert before < clock.now() and began + 0.01 <= clock.monotonic()
