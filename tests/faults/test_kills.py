"""Short kill harness: killed recalls and sends lose nothing, repeat nothing and report nothing false.

The runner forks, so it runs in its own process, without pytest and without threads.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.crash_points import Point

REPOSITORY = Path(__file__).parents[2]


def run(*options: str) -> dict[str, Any]:
    """Run the kill harness and return its figures."""
    command = [sys.executable, "-m", "tests.faults.kills", *options]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=240, check=False)
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        pytest.fail(f"no figures:\n{done.stdout}\n{done.stderr}")
    return found


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    return run("--fast")


def test_every_named_point_kills_under_each_fault(figures):
    assert set(figures["points"]) == set(Point)
    # A send that is killed before success has sent everything, so that kill does not count.
    assert min(figures["points"].values()) >= 2


def test_kills_land_in_the_middle(figures):
    # Two recalls have nine points and five random kills each; a send has eight points and at least five random
    # kills.
    assert figures["kills"] >= 2 * (9 + 5) + 8 + 5


def test_every_account_is_exact_and_every_message_has_its_receipt_or_a_word(figures):
    assert figures["wrong"] == []
    assert {name: figures[name] for name in ("lost", "double", "false_recalled", "false_failed")} == {
        "lost": 0,
        "double": 0,
        "false_recalled": 0,
        "false_failed": 0,
    }
    assert figures["resent"] > 0, "on_unknown_send=resend sends again"


def test_a_checkpoint_without_intents_is_caught_by_the_same_assertions():
    figures = run("--forgetful")
    assert figures["double"] > 0, "a send that was under way is sent again"
    assert figures["lost"] > 0, "and its first message has no receipt"
    assert figures["false_failed"] > 0, "a recalled message is called too old"


def test_recalls_behind_a_proxy_that_misbehaves_are_exact():
    """Use TLS in a CONNECT tunnel; four of ten connections are refused, cut, garbled or reset."""
    figures = run("--fast", "--proxy")
    assert figures["wrong"] == []
    assert figures["kills"] >= 9 + 5
    assert (figures["lost"], figures["false_recalled"], figures["false_failed"]) == (0, 0, 0)
