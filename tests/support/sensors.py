"""Sensors that run to their end in each mode."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from typing import Any

from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.sensors import DingTalkPrivateChatMessageSensor
from airflow_provider_dingtalk.task.api_server import ApiServer, waiting_for_server
from tests.clock import VirtualClock
from tests.support.airflow_names import AirflowRescheduleException, TaskDeferred
from tests.support.airflow_seams import TaskInstance, TaskStateStore

MODES = ("poke", "reschedule", "deferred")


#: Maximum polls of a rescheduled sensor; more count as endless.
MANY = 50


class Rescheduled(TaskInstance):
    """A task that may have been rescheduled before."""

    first: dt.datetime | None = None

    def get_first_reschedule_date(self, _context: Any) -> dt.datetime | None:
        return self.first


def end_of(sensor: Any, *, store: TaskStateStore | None = None, server: ApiServer | None = None) -> Any:
    """Run a sensor in its mode to its end and return its result."""
    ti = Rescheduled()
    # Between two polls of a rescheduled sensor no time passes.
    sensor._clock = VirtualClock(time.time()) if sensor.mode == "reschedule" else None
    context: Any = {"ti": ti, **({"task_state_store": store} if store else {})}
    context = waiting_for_server(context, server) if server else context
    for _ in range(MANY):
        began = dt.datetime.now(dt.UTC)
        try:
            return sensor.execute(context)
        except AirflowRescheduleException:
            # As when Airflow starts another worker: nothing but the context is left.
            ti.first = ti.first or began
            sensor._clock.advance(max(0.1, sensor._wait.seconds_left or 0.0))
            sensor._wait = None
        except TaskDeferred as deferred:
            return _resumed(sensor, deferred, context)
    raise AssertionError("it never ends")


def _resumed(sensor: Any, deferred: TaskDeferred, context: Any) -> Any:
    trigger: Any = deferred.trigger
    _, arguments = trigger.serialize()
    trigger = type(trigger)(**arguments)
    # Waiting takes no time from here on.
    trigger.clock = VirtualClock(time.time())

    async def events() -> list[Any]:
        found = [event.payload async for event in trigger.run()]
        await trigger.cleanup()
        await (await DingTalkHook().aclient()).aclose()
        return found

    (event,) = asyncio.run(events())
    return sensor.resume_execution(deferred.method_name, {"event": event}, context)


def sensor_of(mode: str, receipts: list[dict[str, Any]], **arguments: Any) -> DingTalkPrivateChatMessageSensor:
    chosen = {"deferrable": True} if mode == "deferred" else {"deferrable": False, "mode": mode}
    return DingTalkPrivateChatMessageSensor(
        task_id="wait", receipts=receipts, **{"poke_interval": 0, "timeout": 60, **chosen, **arguments}
    )


def not_at_first(sandbox: SandboxServer) -> None:
    """Let the first poll find nothing; the second sees the real status."""
    merge = {"sendStatus": "PROCESSING", "readUserIds": []}
    sandbox.state.faults.replace([{"match": "query", "nth": [1], "action": {"type": "mutate", "merge": merge}}])
