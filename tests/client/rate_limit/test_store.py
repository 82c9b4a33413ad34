"""The rate limiter in a file, shared by all processes of a host."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.json import decode

from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
from airflow_provider_dingtalk.client.rate_limit.state import LEASE, LimiterState
from airflow_provider_dingtalk.sandbox.control_requests import CreateMessages, create_messages
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from tests.client.rate_limit.rate_limit_worker import calls, limiter, only_file
from tests.clock import VirtualClock
from tests.support.fake_servers import QUERY, TimeLine

pytestmark = pytest.mark.anyio
API = QUERY.name
#: Timeout of other processes in seconds.
LONG = 60
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "dingtalk" / "pace"


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts workers, and ends them with the test."""
    started: list[subprocess.Popen[str]] = []

    def worker(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.client.rate_limit.rate_limit_worker", *map(str, arguments)]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield worker
    for process in started:
        process.kill()
        process.communicate(timeout=LONG)


@pytest.mark.parametrize("window", ["fixed", "sliding"])
def test_four_processes_keep_one_pace(sandbox: SandboxServer, folder: Path, start: Start, window: str) -> None:
    state = sandbox.state
    state.behaviour = state.behaviour.changed({"calls_per_second": 30, "throttle_window": window})
    (key,) = create_messages(state, CreateMessages(kind="group", count=1))["keys"]
    workers = [start(sandbox.url, folder, 30, 30, key) for _ in range(4)]
    for worker in workers:
        assert worker.stdout and worker.stdout.readline() == "ready\n"
    answers = [worker.communicate("go\n", timeout=LONG) for worker in workers]
    assert [(out, err) for out, err in answers] == [("30 0\n", "")] * 4
    counted = state.journal.calls[API]
    assert (counted.total, counted.throttled, counted.refused) == (120, 0, 0)


async def test_slots_of_a_killed_process_come_back(folder: Path, start: Start) -> None:
    before = time.monotonic()
    worker = start("-", folder, 2, "hang", "-")
    assert worker.stdout and worker.stdout.readline() == "taken\n"
    worker.kill()
    after = time.monotonic()
    line = TimeLine(after)
    await line.run(calls(limiter(folder, 2, line), 2))
    assert before + LEASE + 1 <= line.monotonic() <= after + LEASE + 1


async def test_limiters_on_one_folder_share_slots_and_holds(folder: Path, clock: VirtualClock) -> None:
    one, other = limiter(folder, 2, clock), limiter(folder, 2, clock)
    began = clock.monotonic()
    await calls(one, 2)
    await calls(other, 1)
    assert clock.monotonic() - began == pytest.approx(1)
    one.throttled(API, 30)
    await calls(other, 1)
    assert clock.monotonic() - began == pytest.approx(31)


async def test_each_app_and_each_api_has_a_file_and_its_name_tells_neither(folder: Path, clock: VirtualClock) -> None:
    began = clock.monotonic()
    for app in ("one", "two"):
        for api in ("a/b", "../c"):
            async with RateLimiter(1, clock, folder=folder, app=app).permit(api):
                pass
    assert clock.monotonic() == began
    names = [path.name for path in folder.iterdir()]
    assert len(names) == 4 and all(len(name) == 37 and name.endswith(".pace") for name in names)


async def test_all_that_is_made_is_ours_alone(folder: Path, clock: VirtualClock) -> None:
    umask = os.umask(0)
    try:
        await calls(limiter(folder, 2, clock), 1)
    finally:
        os.umask(umask)
    for path, mode in ((folder.parent, 0o700), (folder, 0o700), (only_file(folder), 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode


async def test_cancelled_calls_give_their_slots_back(folder: Path) -> None:
    line = TimeLine()
    limited = limiter(folder, 1, line)

    async def story() -> None:
        waiters = [asyncio.ensure_future(calls(limited, 2)) for _ in range(5)]
        await line.sleep(0.5)
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)
        await calls(limiter(folder, 1, line), 2)

    began = line.monotonic()
    await line.run(story())
    assert line.monotonic() - began == pytest.approx(2)


# ── what is written, and when ──


def in_flight(folder: Path) -> int:
    """Return the number of calls in flight in the file."""
    state = decode(only_file(folder).read_bytes(), type=LimiterState)
    return sum(permit.number != 0 for permit in state.permits)


async def test_each_begin_and_end_is_written_at_once(folder: Path, clock: VirtualClock) -> None:
    limited = limiter(folder, 4, clock)
    async with limited.permit(API):
        async with limited.permit(API):
            assert in_flight(folder) == 2
        assert in_flight(folder) == 1
    assert in_flight(folder) == 0


async def test_a_throttle_is_written_at_once(folder: Path, clock: VirtualClock) -> None:
    limited = limiter(folder, 4, clock)
    async with limited.permit(API):
        limited.throttled(API, 60)
        assert decode(only_file(folder).read_bytes(), type=LimiterState).not_before == clock.monotonic() + 60
