"""Child processes: they end with all that they started, also if this process is killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dev.processes import GRACE, Process, free_port, members_of, stop_all

ROOT = Path(__file__).parents[2]
#: Program that starts another one; both ignore SIGTERM.
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.fork(), flush=True)
time.sleep(300)
"""
#: A program that starts another one, given as text, and does not stop it.
PARENT = """
import os, pathlib, sys, time
from dev.processes import Process
process = Process("stubborn", [sys.executable, "-c", sys.argv[1]], os.environ, pathlib.Path(sys.argv[2]))
print(process.pid, flush=True)
time.sleep(300)
"""


def eventually(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return met


def start_stubborn(folder: Path) -> Process:
    process = Process("stubborn", [sys.executable, "-c", STUBBORN], os.environ, folder / "log")
    assert eventually(lambda: len(process.members()) == 2)
    assert eventually(lambda: bool(process.log.read_text()))
    return process


def test_what_does_not_end_is_killed_with_all_that_it_started(tmp_path):
    process = start_stubborn(tmp_path)
    stop_all([process], grace=0.2)
    assert process.members() == []


def test_a_dead_component_is_told_with_its_last_words(tmp_path):
    process = Process("brief", [sys.executable, "-c", "print('last words')"], os.environ, tmp_path / "log")
    with pytest.raises(RuntimeError, match="last words"):  # noqa: PT012 -- it dies when it dies
        for _ in range(200):
            process.raise_if_dead()
            time.sleep(0.05)
    stop_all([process])


def test_a_killed_parent_leaves_nothing(tmp_path):
    """After SIGKILL of the parent only the watchdog can clean up."""
    command = [sys.executable, "-c", PARENT, STUBBORN, str(tmp_path / "log")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        session = int(parent.stdout.readline())
        assert eventually(lambda: len(members_of({session})) == 2)
        parent.send_signal(signal.SIGKILL)
    assert eventually(lambda: not members_of({session}), seconds=GRACE + 10)


def test_a_taken_port_is_replaced_by_a_free_one():
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert free_port(taken) not in (taken, 0)
    assert free_port(taken) == taken


def test_no_port_is_given_twice():
    first = free_port()
    assert free_port(first) != first


def test_output_of_a_process_is_waited_for(tmp_path):
    command = [sys.executable, "-c", "import time; print('listening on http://a:1', flush=True); time.sleep(300)"]
    process = Process("server", command, os.environ, tmp_path / "log")
    assert process.wait_for_output(r"listening on (\S+)") == "http://a:1"
    stop_all([process])
    with pytest.raises(RuntimeError, match="server ended"):
        process.wait_for_output("(nothing)")


def test_a_signal_is_sent_and_the_end_is_seen(tmp_path):
    process = Process("sleeper", [sys.executable, "-c", "import time; time.sleep(300)"], os.environ, tmp_path / "log")
    assert not process.has_ended
    process.send(signal.SIGTERM)
    assert eventually(lambda: process.has_ended)
    stop_all([process])
    process.send(signal.SIGTERM)
    assert process.has_ended
