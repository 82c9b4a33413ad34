"""Recalls while Airflow's API server is away: they wait, make no call, and go on."""

from __future__ import annotations

import json
import logging
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_dingtalk.exceptions import CheckpointError
from airflow_provider_dingtalk.operators import DingTalkRollbackOperator
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.task.api_server import PAUSE, ApiServer, waiting_for_server
from airflow_provider_dingtalk.version_compat import AirflowTaskTimeout
from tests.clock import VirtualClock
from tests.support.airflow_seams import TaskInstance, TaskStateStore, calls, context, is_recalled, planted
from tests.support.interruptions import raising_on_alarm
from tests.support.operators import rollback
from tests.support.outages import Away, supervisor_error

pytestmark = pytest.mark.usefixtures("hook")

API = "robot/groupMessages/recall"


class Airflow:
    """Task instance and store behind one API server, which may leave at a request.

    :ivar waits: Called at each second of a wait.
    """

    def __init__(self, ti: TaskInstance | None = None, *, timeout: float = 120.0) -> None:
        self.clock = VirtualClock()
        self.began = self.clock.now()
        self.real_ti, self.real_store = ti or TaskInstance("rollback"), TaskStateStore()
        self.ti = Away(self.real_ti, self.clock)
        self.store = Away(self.real_store, self.clock)
        self.server = ApiServer(timeout, clock=self.clock, sleep=self._sleep)
        self.waits: Callable[[], object] = lambda: None

    def leave(self, seconds: float) -> None:
        self.ti.leave(seconds)
        self.store.leave(seconds)

    def leave_at_write(self, number: int, seconds: float) -> None:
        """Leave at the ``number``-th write into the store."""
        original, writes = self.real_store.set, iter(range(1, 10_000))

        def set_or_leave(key: str, value: Any) -> None:
            # The keys of the messages are written once, before the first row.
            if "begun" not in key and next(writes) == number:
                self.leave(seconds)
                raise supervisor_error()
            original(key, value)

        self.real_store.set = set_or_leave  # type: ignore[method-assign]

    @property
    def written(self) -> int:
        """Number of messages that the checkpoint knows of."""
        rows = [
            json.loads(value)["row"]
            for key, value in self.real_store._values.items()
            if "recall-2" in key and "begun" not in key
        ]
        return sum(code != "P" for row in rows for code in row)

    @property
    def context(self) -> Any:
        return waiting_for_server({**context(), "ti": self.ti, "task_state_store": self.store}, self.server)  # type: ignore[typeddict-item]

    @property
    def waited(self) -> float:
        return self.clock.now() - self.began

    def _sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.waits()


def is_account_exact(sandbox: SandboxServer, airflow: Airflow, receipts: list[dict[str, Any]]) -> bool:
    counts = airflow.real_ti.pushed("report")["counts"]
    return bool(counts["recalled"] == sum(is_recalled(sandbox, receipt) for receipt in receipts))


def test_a_recall_waits_makes_no_call_it_cannot_write_down_and_goes_on(
    sandbox: SandboxServer, caplog: pytest.LogCaptureFixture
) -> None:
    receipts, airflow = planted(sandbox, "group", 1200), Airflow()
    airflow.leave_at_write(4, 100)
    begun: list[int] = []
    airflow.waits = lambda: begun.append(calls(sandbox)[API] * 20 - airflow.written)
    with caplog.at_level(logging.INFO, "airflow_provider_dingtalk.task.api_server"):
        report = rollback(receipts).execute(airflow.context)
    assert report["counts"]["recalled"] == 1200
    assert airflow.waited == 100 / PAUSE
    assert calls(sandbox)[API] == 60, "no message is recalled twice"
    assert len(begun) == 100
    assert max(begun) <= 0, "no call whose messages are not written down"
    began, ended = [record.getMessage() for record in caplog.records if "API server" in record.getMessage()]
    assert "120 s" in began and "after 100 s" in ended


def test_when_the_wait_is_over_calls_under_way_end_and_a_later_try_goes_on(sandbox: SandboxServer) -> None:
    receipts, airflow = planted(sandbox, "group", 1200), Airflow()
    airflow.leave_at_write(3, 130)
    with pytest.raises(CheckpointError) as raised:
        rollback(receipts).execute(airflow.context)
    assert not raised.value.permanent
    assert airflow.waited == 120, "reports and keys do not wait again"
    done = sum(is_recalled(sandbox, receipt) for receipt in receipts)
    assert 0 < done < 1200
    airflow.clock.advance(10)
    report = rollback(receipts).execute(airflow.context)
    assert report["counts"]["recalled"] == 1200
    assert calls(sandbox)[API] <= 60 + 20, "only what was under way and not written is recalled again"


def test_after_one_refused_write_what_was_under_way_is_written_with_the_rest(sandbox: SandboxServer) -> None:
    receipts, airflow = planted(sandbox, "group", 1200), Airflow()
    original, writes = airflow.real_store.set, iter(range(1, 10_000))

    def refuse_one(key: str, value: Any) -> None:
        if "begun" not in key and next(writes) == 4:
            raise supervisor_error({"status_code": 422, "message": "refused", "detail": None})
        original(key, value)

    airflow.real_store.set = refuse_one  # type: ignore[method-assign]
    with pytest.raises(CheckpointError):
        rollback(receipts).execute(airflow.context)
    assert airflow.waited == 0
    assert is_account_exact(sandbox, airflow, receipts)
    before = calls(sandbox)[API]
    assert 1 < before < 60
    report = rollback(receipts).execute(airflow.context)
    assert report["counts"]["recalled"] == 1200
    assert calls(sandbox)[API] == 60, "no message is recalled twice"
    assert "again" not in report["api_calls"]


def test_what_is_read_before_the_first_call_is_waited_for(sandbox: SandboxServer) -> None:
    receipts = planted(sandbox, "group", 40)
    xcoms = {("send", "receipts_0"): [receipts], ("send", "receipts_count"): [40]}
    airflow = Airflow(TaskInstance("rollback", xcoms=xcoms, states={"send": "failed"}))
    airflow.leave(60)
    operator = DingTalkRollbackOperator(task_id="rollback", from_tasks="send")
    assert operator.execute(airflow.context)["counts"]["recalled"] == 40
    assert airflow.waited == 60


def test_the_report_and_the_keys_are_pushed_when_the_server_is_back(sandbox: SandboxServer) -> None:
    receipts, airflow = planted(sandbox, "oto", 40), Airflow()
    original = airflow.real_ti.xcom_push

    pushes = iter(range(1, 10_000))

    def leave_once(key: str, value: Any) -> None:
        if next(pushes) == 1:
            airflow.leave(30)
            raise supervisor_error()
        original(key, value)

    airflow.real_ti.xcom_push = leave_once  # type: ignore[method-assign]
    rollback(receipts).execute(airflow.context)
    assert airflow.real_ti.pushed("report")["counts"]["recalled"] == 40
    assert len(airflow.real_ti.pushed("recalled_0")) == 40
    assert airflow.waited == 30


def test_a_killed_task_waits_no_longer(sandbox: SandboxServer) -> None:
    receipts, airflow = planted(sandbox, "group", 1200), Airflow()
    operator = rollback(receipts)
    airflow.leave_at_write(4, 10_000)
    airflow.waits = operator.on_kill
    with pytest.raises(CheckpointError):
        operator.execute(airflow.context)
    assert airflow.waited == PAUSE
    assert calls(sandbox)[API] * 20 <= airflow.written < 1200


def test_a_timeout_ends_a_wait_before_the_first_call_and_stays_the_error(sandbox: SandboxServer) -> None:
    airflow = Airflow(TaskInstance("rollback", states={"send": "failed"}))

    def interrupt() -> None:
        raise AirflowTaskTimeout

    airflow.leave(1000)
    airflow.waits = interrupt
    with pytest.raises(AirflowTaskTimeout):
        DingTalkRollbackOperator(task_id="rollback", from_tasks="send").execute(airflow.context)
    assert airflow.waited == PAUSE
    assert airflow.ti.attempts == 2, "one read, and one push of the report"
    assert calls(sandbox) == {}


def test_a_timeout_ends_the_wait_at_once_and_its_report_is_there(sandbox: SandboxServer) -> None:
    receipts, airflow = planted(sandbox, "group", 1200), Airflow()
    is_stopped, ended = threading.Event(), []

    class Server(ApiServer):
        stops = 0

        def stop(self) -> None:
            super().stop()
            self.stops += 1
            is_stopped.set()

    def interrupt(seconds: float) -> None:
        airflow.ti.leave(0)
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        ended.append(is_stopped.wait(60))

    airflow.server = server = Server(120, clock=airflow.clock, sleep=interrupt)
    airflow.leave_at_write(4, 10_000)
    with raising_on_alarm(AirflowTaskTimeout), pytest.raises(AirflowTaskTimeout):
        rollback(receipts).execute(airflow.context)
    assert ended == [True], "one wait, which the interruption ended"
    assert server.stops == 2, "at the interruption, and before the report"
    assert is_account_exact(sandbox, airflow, receipts)
    assert calls(sandbox)[API] * 20 <= airflow.written < 1200
