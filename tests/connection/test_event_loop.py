"""The loop's thread, and a main thread that is interrupted while it waits."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("seed", ["1", "2"])
def test_an_interruption_at_any_moment_comes_through_as_itself_and_the_loop_goes_on(seed):
    command = [sys.executable, "-m", "tests.connection.storm_of_signals", seed]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    interruptions, outcome = done.stdout.split()
    assert outcome == "done"
    assert int(interruptions) >= 50
