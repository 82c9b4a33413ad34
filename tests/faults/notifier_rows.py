"""Row 42: a notifier whose DingTalk is away, slow, or refuses it ends in time and says so without a secret."""

from __future__ import annotations

import json
import time
from typing import Any

from airflow_provider_dingtalk.api.errors import DingTalkError
from airflow_provider_dingtalk.notifications import DEADLINE, DingTalkNotifier
from airflow_provider_dingtalk.sandbox.default import GROUPS
from tests.faults.input_rows import connected, connection_json, environment
from tests.faults.matrix import Run

AWAY: tuple[dict[str, Any], ...] = (
    {"action": {"type": "drop"}},
    {"when": "after", "action": {"type": "drop"}},
    {"action": {"type": "status", "status": 500}},
    {"action": {"type": "html", "status": 200}},
    {"action": {"type": "ban"}},
)
#: Seconds that a slow DingTalk takes, far more than a notifier has.
SLOW = 60.0


def a_notifier_ends_in_time(run: Run) -> None:
    """Whatever happens: an error within ten seconds, of a kind that can be named; ``notify`` hides nothing."""
    with connected(run) as (stage, server):
        good = json.loads(connection_json(server.url, stage.secret))
        # Each under a connection of its own: a ban is remembered by the client of its app.
        for number, away in enumerate(AWAY):
            stage.world.faults.replace([{"match": "send", **away}])
            _fails(
                run, f"dingtalk_away_{number}", {**good, "extra": {**good["extra"], "agent_id": str(number + 1)}}
            )
        stage.world.faults.replace([{"match": "send", "action": {"type": "delay", "seconds": SLOW}}])
        _fails(run, "dingtalk_slow", with_agent(good, 99), timeout=0.5)
        stage.world.faults.replace([])
        _fails(run, "dingtalk_wrong", {**good, "password": f"not-{stage.secret}"[:6]})
        _fails(run, "dingtalk_closed", {**good, "host": "http://127.0.0.1:9"})


def with_agent(connection: dict[str, Any], agent_id: int) -> dict[str, Any]:
    """Another connection to the same DingTalk."""
    return {**connection, "extra": {**connection["extra"], "agent_id": str(agent_id)}}


def _fails(run: Run, conn_id: str, connection: dict[str, Any], timeout: float = DEADLINE) -> None:
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
