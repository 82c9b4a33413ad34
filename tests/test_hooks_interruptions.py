"""The hook in forked processes and under interruptions."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection as Pipe
from typing import Any

import anyio
import pytest

from airflow_provider_dingtalk.connection import event_loop
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.jobs.recall import Recall
from airflow_provider_dingtalk.messages.receipt_parser import parse_receipts
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.version_compat import AirflowTaskTimeout
from tests.support.airflow_seams import calls, is_recalled, key_of, planted
from tests.support.interruptions import alarm_at_call, raising_on_alarm

GROUP_RECALL = "robot/groupMessages/recall"
#: Timeout of waits for other processes and threads in seconds.
LONG = 30


# ── forks ────────────────────────────────────────────────────────────────────────────────────────────


def _in_child(pipe: Pipe, receipt: dict[str, Any], parents_loop: int) -> None:
    report = DingTalkHook().recall(receipt)
    own = event_loop.run(_thread_of_loop)
    pipe.send((report["recalled"], own != parents_loop, os.getpid()))
    pipe.close()


async def _thread_of_loop() -> int:
    return threading.get_native_id()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_child_gets_a_loop_of_its_own(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    ours, theirs = planted(sandbox, "oto", 2)
    assert hook.recall(ours)["counts"]["recalled"] == 1
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)
    child = fork.Process(target=_in_child, args=(there, theirs, event_loop.run(_thread_of_loop)))
    child.start()
    there.close()
    try:
        assert here.poll(LONG), "the child hangs: it waits for its parent's loop"
        recalled, has_its_own, pid = here.recv()
        child.join(LONG)
    finally:
        child.kill()
        here.close()
    assert (recalled, has_its_own, pid) == ([key_of(theirs)], True, child.pid)
    assert child.exitcode == 0
    assert is_recalled(sandbox, theirs)
    assert hook.recall(planted(sandbox, "oto"))["counts"]["recalled"] == 1, "the parent's loop still works"


# ── interruptions ────────────────────────────────────────────────────────────────────────────────────


class OwnInterruption(BaseException):
    """Exception of a foreign signal handler."""


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, AirflowTaskTimeout, OwnInterruption])
def test_an_interrupted_recall_ends_its_call_begins_no_other_and_has_a_complete_report(
    sandbox: SandboxServer, hook: DingTalkHook, interruption: type[BaseException]
) -> None:
    receipts = planted(sandbox, "group", 200)
    # Slow enough for the interruption to find the call in flight, within the grace period of calls in flight.
    sandbox.faults({"action": {"type": "delay", "seconds": 1}, "match": GROUP_RECALL})
    job = Recall(parse_receipts(receipts))
    with (
        raising_on_alarm(interruption),
        alarm_at_call(sandbox, GROUP_RECALL, 1),
        pytest.raises(interruption),
    ):
        hook.run(job.run, job.stop)
    counts = job.report().counts()
    assert counts == {"recalled": 20, "failed": 180, "expired": 0, "unknown": 0, "total": 200}
    assert {settled.reason.code for settled in job.report().results.values() if settled.reason} == {"not_attempted"}
    assert sum(is_recalled(sandbox, receipt) for receipt in receipts) == 20
    assert_silent(sandbox, hook)
    assert calls(sandbox)[GROUP_RECALL] == 1


def test_a_call_that_hangs_is_cut_off_and_its_messages_are_unknown(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    receipts = planted(sandbox, "group", 60)
    sandbox.faults({"action": {"type": "delay", "seconds": LONG}, "match": GROUP_RECALL, "nth": [2]})
    job = Recall(parse_receipts(receipts), workers=1)
    with (
        raising_on_alarm(KeyboardInterrupt),
        alarm_at_call(sandbox, GROUP_RECALL, 2),
        pytest.raises(KeyboardInterrupt),
    ):
        hook.run(job.run, job.stop)
    assert job.report().counts() == {"recalled": 20, "failed": 20, "expired": 0, "unknown": 20, "total": 60}
    assert_silent(sandbox, hook)
    assert calls(sandbox)[GROUP_RECALL] == 2


def assert_silent(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    """Check that interrupted work sends nothing more; the next request belongs to another call."""
    sandbox.faults()
    before = sandbox.state.journal.seq
    hook.recall(planted(sandbox, "oto"))
    assert sandbox.state.journal.seq == before + 1
    assert calls(sandbox)["robot/otoMessages/batchRecall"] == 1


def test_the_loop_works_on_after_an_interruption(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    async def forever(_: Any) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        await anyio.sleep_forever()

    for _ in range(2):
        # Without ``stop`` the work is cancelled at once.
        with raising_on_alarm(OwnInterruption), pytest.raises(OwnInterruption):
            hook.run(forever)
    assert hook.recall(planted(sandbox, "oto"))["counts"]["recalled"] == 1
