"""Row 42: a notifier ends in time if DingTalk is away, slow or refuses it."""

from __future__ import annotations

import json
import time
from typing import Any

from airflow_provider_dingtalk.exceptions import DingTalkError
from airflow_provider_dingtalk.notifications import DEADLINE, DingTalkNotifier
from airflow_provider_dingtalk.sandbox.default import GROUPS
from tests.faults.input_rows import connected, connection_json, environment
from tests.faults.matrix import RowRun

AWAY: tuple[dict[str, Any], ...] = (
    {"action": {"type": "drop"}},
    {"when": "after", "action": {"type": "drop"}},
    {"action": {"type": "status", "status": 500}},
    {"action": {"type": "html", "status": 200}},
    {"action": {"type": "ban"}},
)
#: Seconds of a slow answer, more than a notifier's timeout.
SLOW = 60.0


def a_notifier_ends_in_time(run: RowRun) -> None:
    """Check that ``notify`` raises a typed error within ten seconds."""
    with connected(run) as (sandbox, server):
        good = json.loads(connection_json(server.url, sandbox.secret))
        # A client remembers a ban of its app, so each case has its own connection.
        for number, away in enumerate(AWAY):
            sandbox.state.faults.replace([{"match": "send", **away}])
            _fails(run, f"dingtalk_away_{number}", {**good, "extra": {**good["extra"], "agent_id": str(number + 1)}})
        sandbox.state.faults.replace([{"match": "send", "action": {"type": "delay", "seconds": SLOW}}])
        _fails(run, "dingtalk_slow", with_agent(good, 99), timeout=0.5)
        sandbox.state.faults.replace([])
        _fails(run, "dingtalk_wrong", {**good, "password": f"not-{sandbox.secret}"[:6]})
        _fails(run, "dingtalk_closed", {**good, "host": "http://127.0.0.1:9"})


def with_agent(connection: dict[str, Any], agent_id: int) -> dict[str, Any]:
    """Return another connection to the same sandbox."""
    return {**connection, "extra": {**connection["extra"], "agent_id": str(agent_id)}}


def _fails(run: RowRun, conn_id: str, connection: dict[str, Any], timeout: float = DEADLINE) -> None:
    began = time.monotonic()
    with environment(**{f"AIRFLOW_CONN_{conn_id.upper()}": json.dumps(connection)}):
        to = {"open_conversation_id": GROUPS[0]}
        notifier = DingTalkNotifier(to=to, text="hello", timeout=timeout, dingtalk_conn_id=conn_id)
        try:
            notifier.notify({})
        except DingTalkError as error:
            run.sinks.add_error(error)
            run.figures.fired += 1
        else:
            raise AssertionError(f"{conn_id}: nothing was said")
    seconds = time.monotonic() - began
    assert seconds < DEADLINE + 0.5, f"{conn_id}: {seconds:.1f} s"
