"""File of the rate limiter: used only if private, recreated if unreadable, left out with one warning."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_dingtalk.client.rate_limit.state import GAP
from tests.client.rate_limit.rate_limit_worker import calls, limiter, only_file
from tests.clock import VirtualClock
from tests.support.fake_servers import QUERY

pytestmark = pytest.mark.anyio
API = QUERY.name
#: Timeout in seconds.
LONG = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "dingtalk" / "pace"


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def keeps_its_own_pace(folder: Path, clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> str:
    """Check that a limiter works without the folder; return its only warning."""
    limited, began = limiter(folder, 2, clock), clock.monotonic()
    await calls(limited, 4)
    async with limited.permit("another"):
        limited.throttled(API, 5)
    assert clock.monotonic() - began == pytest.approx(1 + GAP / 2)
    await calls(limited, 1)
    assert clock.monotonic() - began == pytest.approx(6 + GAP / 2)
    (warning,) = warnings(caplog)
    assert "by this process alone" in warning and "pace_dir" in warning
    return warning


def a_link(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(folder.parent / "elsewhere")


def a_shared_folder(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o1777)


def a_folder_of_a_group(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o770)


def a_file(folder: Path) -> None:
    folder.write_text("")


@pytest.mark.parametrize(
    ("obstacle", "why"),
    [
        (a_link, "link"),
        (a_shared_folder, "by others"),
        (a_folder_of_a_group, "by others"),
        (a_file, "not a folder"),
    ],
)
async def test_a_folder_that_is_not_ours_alone_is_refused(
    folder: Path,
    clock: VirtualClock,
    caplog: pytest.LogCaptureFixture,
    obstacle: Callable[[Path], None],
    why: str,
) -> None:
    folder.parent.mkdir()
    obstacle(folder)
    assert why in await keeps_its_own_pace(folder, clock, caplog)
    assert not folder.is_dir() or not list(folder.iterdir())


async def test_a_folder_of_another_user_is_refused(
    folder: Path, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    # Only root can give a folder away, and only to others does a folder of root belong to another user.
    strangers = Path("/usr/lib")
    if os.geteuid() == 0:
        folder.mkdir(mode=0o700, parents=True)
        os.chown(folder, 54321, -1)
        strangers = folder
    assert "another user" in await keeps_its_own_pace(strangers, clock, caplog)


async def test_a_folder_that_cannot_be_made(
    folder: Path, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    folder.parent.write_text("a file")
    await keeps_its_own_pace(folder, clock, caplog)


async def test_a_relative_folder_is_refused(clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    assert "not an absolute path" in await keeps_its_own_pace(Path("pace"), clock, caplog)


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
async def test_nothing_is_written_through_a_link(
    folder: Path,
    clock: VirtualClock,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    link: Callable[[Path, Path], None],
) -> None:
    await calls(limiter(folder, 2, clock), 1)
    mine = tmp_path / "mine"
    mine.write_text("mine")
    path = only_file(folder)
    path.unlink()
    link(path, mine)
    await keeps_its_own_pace(folder, clock, caplog)
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    "text",
    [
        b"\x00" * 100,
        b"{",
        b"[" * 100_000,
        b"\xff" * 50,
        b'{"format":2,"permits":[]}',
        b'{"format":3,"permits":[[1e300,1]]}',
        b'{"format":3,"not_before":1e300}',
        b" " * 2_000_000,
    ],
)
async def test_a_file_that_cannot_be_understood_is_begun_anew(
    folder: Path, clock: VirtualClock, caplog: pytest.LogCaptureFixture, text: bytes
) -> None:
    await calls(limiter(folder, 2, clock), 1)
    only_file(folder).write_bytes(text)
    limited, began = limiter(folder, 2, clock), clock.monotonic()
    await calls(limited, 1)
    # The calls of the last second are not known.
    assert clock.monotonic() - began == pytest.approx(1)
    assert len(warnings(caplog)) == 1 and "Replacing an unreadable" in warnings(caplog)[0]
    await calls(limiter(folder, 2, clock), 2)
    assert clock.monotonic() - began == pytest.approx(2)
    assert len(warnings(caplog)) == 1


async def test_a_folder_that_is_deleted_is_made_again(
    folder: Path, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    limited = limiter(folder, 2, clock)
    await calls(limited, 1)
    only_file(folder).unlink()
    folder.rmdir()
    await calls(limited, 1)
    assert only_file(folder) and not warnings(caplog)


async def test_files_of_earlier_boots_are_deleted(folder: Path, clock: VirtualClock) -> None:
    await calls(limiter(folder, 2, clock), 1)
    old, young, foreign = (folder / name for name in ("old.pace", "young.pace", "old.txt"))
    for path in (old, young, foreign):
        path.write_text("{}")
    for path in (old, foreign):
        os.utime(path, (0, 0))
    await calls(limiter(folder, 2, clock), 1)
    assert (old.exists(), young.exists(), foreign.exists()) == (False, True, True)


async def test_a_lock_that_is_not_given_back_stops_nobody(
    folder: Path, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    await calls(limiter(folder, 2, clock), 1)
    with only_file(folder).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        limited, began = limiter(folder, 2, clock), clock.monotonic()
        await calls(limited, 4)
    assert 5 < clock.monotonic() - began < 7
    (warning,) = warnings(caplog)
    assert "not released" in warning


async def test_an_end_that_finds_the_lock_taken_is_written_down_later(folder: Path, clock: VirtualClock) -> None:
    limited, began = limiter(folder, 1, clock), clock.monotonic()
    async with limited.permit(API):
        held = only_file(folder).open()
        fcntl.flock(held, fcntl.LOCK_EX)
    held.close()
    async with asyncio.timeout(LONG):
        while not only_file(folder).read_bytes().endswith(b",0]]}"):  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.001)
    await calls(limiter(folder, 1, clock), 1)
    assert clock.monotonic() - began == pytest.approx(1)


def test_without_locks_on_files_it_is_said(folder: Path) -> None:
    code = f"""
import asyncio, sys
sys.modules["fcntl"] = None
from pathlib import Path
from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
async def main():
    async with RateLimiter(2, folder=Path({str(folder)!r})).permit("api"):
        print("called")
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG, check=True)
    assert done.stdout == "called\n"
    assert "no file locks" in done.stderr
    assert not folder.exists()
