"""Faults of a cluster: kills, cuts and restarts, each in the middle of some work."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery
from msgspec import Struct

from dev.cluster import Cluster
from dev.forwarder import Mode
from tests.cluster.accounts import Row
from tests.cluster.work import Block, Lane, Recall, Send, SentBlock, Work
from tests.real_airflow.fixtures import wait_until

#: Share of all work from which on a fault comes.
FROM = 0.02
#: Rollback blocks that are cut off at the same time.
BLOCKS = 8
#: Seconds for which PostgreSQL and Redis are away, and the scheduler.
AWAY, SCHEDULER_AWAY = 5.0, 2.0
#: Delay of a retry in seconds.
RETRY_DELAY = 1.0
#: The smallest timeout of heartbeats that the issue names; Airflow's default is 300 s. Airflow checks every 10 s.
HEARTBEAT_TIMEOUT, CHECK_INTERVAL = 30.0, 10.0
_HEARTBEAT_OPTION = "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"


class Fault(Struct, frozen=True, kw_only=True):
    """Fault in the middle of work.

    :param retries: Retries of the tasks: 0 where Airflow keeps the task alive, 1 with a delay of a minute, 2.
    :param tries: Number of tries that the work may take.
    :param airflow: Seconds that Airflow waits by its own timeouts.
    """

    name: str
    do: Callable[[Lane, Sequence[Work]], None]
    retries: int = 0
    tries: int = 1
    airflow: float = 0.0


def under(fault: Fault, lane: Lane) -> list[Row]:
    """Let a recall and a send meet a fault, and return their rows."""
    lane.clear()
    return meet(fault, lane, [Recall(lane, fault.retries), Send(lane, fault.retries)])


def blocks_under(fault: Fault, lane: Lane) -> list[Row]:
    """Let rollback blocks meet a fault during their sends, and return their rows."""
    lane.clear()
    rows = meet(fault, lane, [Block(lane, 0) for _ in range(BLOCKS)])
    for number, row in enumerate(rows, 1):
        row.name += f" {number}"
    return rows


def worker_killed(lane: Lane) -> list[Row]:
    """Kill a worker under a recall, a send and two blocks; the other worker must go on with all of it."""
    _shorten_heartbeat_timeout(lane.cluster)
    lane.clear()
    try:
        sent = SentBlock(lane, 0)
        works = [Recall(lane, 2), Send(lane, 2), Block(lane, 0), sent]
        sent.begin()
        wait_until("the messages of a block are sent and its next task works", lambda: sent.share() > 0)
        rows = meet(WORKER_KILLED, lane, works)
    finally:
        if lane.host not in lane.cluster.processes:
            lane.cluster.start(lane.host)
            lane.cluster.wait_until_healthy()
        _control(lane).cancel_consumer(lane.host, **_other_worker(lane))
    for row in rows:
        row.must(row.figures["host"] == lane.other_host, "the other worker did not take over")
    return rows


def meet(fault: Fault, lane: Lane, works: Sequence[Work]) -> list[Row]:
    """Let works begin together, meet a fault in the middle, and return their rows."""
    wait_until("all work is ready to begin", lambda: all(work.is_ready or work.is_over() for work in works))
    for work in works:
        work.begin()
    wait_until("all work has begun", lambda: all(work.share() >= FROM or work.is_over() for work in works))
    at = [work.share() for work in works]
    fault.do(lane, works)
    end = time.time()
    more = {"end": end, "airflow": fault.airflow, "tries": fault.tries}
    return [work.row(fault.name, at=share, **more) for work, share in zip(works, at, strict=True)]


# ── faults of one host ──


def cut(seconds: float, mode: Mode) -> Callable[[Lane, Sequence[Work]], None]:
    """Return a fault that cuts the host off from the API server for some seconds."""

    def do(lane: Lane, works: Sequence[Work]) -> None:
        lane.cluster.forwarders[lane.host].set_mode(mode)
        time.sleep(seconds)
        lane.cluster.forwarders[lane.host].set_mode(Mode.FORWARD)

    return do


def kill_tasks(lane: Lane, works: Sequence[Work]) -> None:
    """Kill the processes of the tasks.

    :raises LookupError: If a task is not a process of the host.
    """
    members = set(lane.cluster.processes[lane.host].members())
    pids = {work.task()["pid"] for work in works}
    if strangers := pids - members:
        raise LookupError(f"{lane.host} did not start {strangers}")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def kill_worker(lane: Lane, works: Sequence[Work]) -> None:
    """Kill the worker with all supervisors; the other worker takes its queue over."""
    lane.cluster.kill(lane.host)
    _control(lane).add_consumer(lane.host, **_other_worker(lane))


def _control(lane: Lane) -> Any:
    return Celery(broker=lane.cluster.env["AIRFLOW__CELERY__BROKER_URL"]).control


def _other_worker(lane: Lane) -> dict[str, Any]:
    return {"destination": [f"{lane.other_host}@{lane.other_host}"], "reply": True, "timeout": 10}


# ── faults of the whole cluster ──


def restart_api_server(lane: Lane, works: Sequence[Work]) -> None:
    """Kill the API server and start another."""
    lane.cluster.restart("api-server")


def restart_postgres(lane: Lane, works: Sequence[Work]) -> None:
    """Stop PostgreSQL at once and start it again."""
    lane.cluster.postgres.stop()
    time.sleep(AWAY)
    lane.cluster.postgres.start()


def restart_redis(lane: Lane, works: Sequence[Work]) -> None:
    """Kill Redis and start it again."""
    lane.cluster.redis.kill()
    time.sleep(AWAY)
    lane.cluster.redis.start()


def kill_scheduler(lane: Lane, works: Sequence[Work]) -> None:
    """Kill the scheduler and start another."""
    lane.cluster.kill("scheduler")
    time.sleep(SCHEDULER_AWAY)
    lane.cluster.start("scheduler")


def _shorten_heartbeat_timeout(cluster: Cluster) -> None:
    """Start the scheduler again with a heartbeat timeout of 30 s."""
    cluster.more_env["scheduler"] = {_HEARTBEAT_OPTION: f"{HEARTBEAT_TIMEOUT:.0f}"}
    cluster.restart("scheduler")


REFUSED_12 = Fault(name="cut off 12 s", do=cut(12, Mode.REFUSE))
REFUSED_30 = Fault(name="cut off 30 s", do=cut(30, Mode.REFUSE))
REFUSED_90 = Fault(name="cut off 90 s", do=cut(90, Mode.REFUSE), retries=1, tries=2)
HELD_30 = Fault(name="black hole 30 s", do=cut(30, Mode.HOLD))
TASK_KILLED = Fault(name="task killed", do=kill_tasks, retries=2, tries=2, airflow=RETRY_DELAY)
WORKER_KILLED = Fault(
    name="worker killed",
    do=kill_worker,
    retries=2,
    tries=2,
    airflow=HEARTBEAT_TIMEOUT + CHECK_INTERVAL + RETRY_DELAY,
)
API_SERVER_RESTARTED = Fault(name="API server restarted", do=restart_api_server)
POSTGRES_RESTARTED = Fault(name="PostgreSQL restarted", do=restart_postgres)
REDIS_RESTARTED = Fault(name="Redis restarted", do=restart_redis)
SCHEDULER_KILLED = Fault(name="scheduler killed", do=kill_scheduler)
