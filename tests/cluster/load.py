"""Load on a cluster: recalls of two hosts, a send at full speed, sensors, and a search through many runs."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from statistics import mean
from typing import Any, NamedTuple

from dev.cluster import TRIGGERERS, WORKERS, Cluster
from tests.cluster.accounts import BATCH, Row
from tests.cluster.work import Lane
from tests.faults.kill_sandbox import SEND_API
from tests.real_airflow.fixtures import RECALL_API, DagRun, wait_until

#: Calls a second that the sandbox allows.
RATE = 20
RECALL_KEYS, FULL_PEOPLE = 2_000, 1_000
STATUS_API = "robot/oToMessages/readStatus"
#: Poll interval of the sensors in seconds, and the window in which their calls are counted. A trigger that moves polls
#: at once, then on its schedule; before, it misses polls for Airflow's 30 s until a triggerer counts as dead.
POLL, WINDOW = 20.0, 60.0
TIMEOUT = 600.0
#: Milliseconds that a search may take per run that sent; on a slow machine, the time of two requests, of which one is
#: made.
MS_PER_RUN, REQUESTS_TIME = 30, 2.0


def start(lane: Lane, dag_id: str, /, **conf: Any) -> DagRun:
    """Start a run."""
    return DagRun(lane.cluster, dag_id, lane.cluster.api.trigger(dag_id, conf))


def instances(run: DagRun, task_id: str = "") -> list[dict[str, Any]]:
    """Return the task instances of a run, or those of one of its tasks."""
    found = run.airflow.task_instances(run.dag_id, run.run_id)
    return [one for one in found if one["task_id"].startswith(task_id)]


def requests(lane: Lane) -> int:
    """Return the number of requests that the host's tasks have sent to the API server."""
    return lane.cluster.forwarders[lane.host].requests


# ── one rate limit for two hosts ──


def four_recalls(lane: Lane, window: str, *, with_redis: bool) -> list[Row]:
    """Recall four times 2,000 messages of one app from two hosts at once.

    Airflow starts the tasks seconds apart, and they wait for each other, so each takes from the first call of all to
    its last recalled message.
    """
    _share_rate_limit(lane.cluster, with_redis)
    lane.clear(calls_per_second=RATE, throttle_window=window)
    recalls = [lane.create_keys("oto", RECALL_KEYS) for _ in range(4)]
    run = start(lane, "four_recalls", files=[file for _, file in recalls]).wait()
    calls = [one for one in lane.sandbox.ask("/journal")["requests"] if one["api"] == RECALL_API["oto"]]
    recalled = {one["key"]: one["recalled_at"] or math.inf for one in lane.sandbox.messages()}
    began = min(one["time"] for one in calls)
    seconds = [max(recalled[key] for key in keys) - began for keys, _ in recalls]
    bound = 4 * RECALL_KEYS / BATCH / RATE
    row = Row(name=f"four recalls, {window}, {'with' if with_redis else 'without'} Redis")
    wall = max(one["time"] for one in calls) - began
    throttled = lane.sandbox.ask("/truth", brief=1)["calls"][RECALL_API["oto"]]["throttled"]
    row.figures = {
        "state": run.state,
        "wall_of_bound": round(wall / bound, 2),
        "calls": len(calls),
        "throttled": throttled,
        "slowest_of_fastest": round(max(seconds) / min(seconds), 2),
        "left": sum(moment == math.inf for moment in recalled.values()),
    }
    most_wall, most_throttled = (1.05, 0.0) if with_redis else (1.2, 0.03)
    row.must(row.figures["left"] == 0, "messages are left")
    row.goal(row.figures["wall_of_bound"] <= most_wall, f"wall is above {most_wall} of the bound of {bound:.0f} s")
    row.goal(throttled <= most_throttled * len(calls), f"more than {most_throttled:.0%} of the calls are throttled")
    row.goal(row.figures["slowest_of_fastest"] <= 1.3, "the slowest task takes over 1.3 times the fastest")
    return [row]


def _share_rate_limit(cluster: Cluster, with_redis: bool) -> None:
    """Let both workers share the rate limit in Redis, or not."""
    env = {"AIRFLOW__DINGTALK__RATE_LIMIT_URL": f"{cluster.redis.url}/1"} if with_redis else {}
    if any(cluster.more_env.get(name, {}) != env for name in WORKERS):
        cluster.more_env |= dict.fromkeys(WORKERS, env)
        cluster.restart(*WORKERS)


# ── a send at full speed ──


def full_send(lane: Lane) -> list[Row]:
    """Send to 1,000 people, one receipt each, and count requests to the API server."""
    lane.clear(calls_per_second=RATE)
    before = requests(lane)
    run = start(lane, "full_send", people=FULL_PEOPLE).wait(TIMEOUT)
    times = sorted(message["sent_at"] for message in lane.sandbox.messages())
    bound = FULL_PEOPLE / RATE
    row = Row(name="send to 1,000 people")
    row.figures = {
        "state": run.state,
        "sent": len(times),
        "wall_of_bound": round((times[-1] - times[0]) / bound, 2),
        "requests_per_message": round((requests(lane) - before) / FULL_PEOPLE, 2),
        "calls": lane.sandbox.calls(SEND_API),
    }
    row.must(run.state == "success" and len(times) == FULL_PEOPLE, "not all messages are sent")
    row.goal(row.figures["wall_of_bound"] <= 1.1, f"wall is above 1.1 of the bound of {bound:.0f} s")
    row.must(0 < row.figures["requests_per_message"] <= 0.2, "more than 0.2 requests to the API server per message")
    return [row]


# ── sensors on two triggerers ──


def sensors(lane: Lane, count: int) -> list[Row]:
    """Let sensors wait in two triggerers and kill one of them; all must fire."""
    lane.clear(calls_per_second=RATE)
    keys, file = lane.create_keys("oto", count)
    run = start(lane, f"sensors_{lane.host}", file=file)
    wait_until("all sensors are deferred", lambda: _states(run) == {"deferred": count}, TIMEOUT)
    held = Counter(one["triggerer_job"]["hostname"] for one in instances(run, "wait") if one["triggerer_job"])
    time.sleep(POLL)
    undisturbed = _status_calls(lane)
    victim = max(TRIGGERERS, key=lambda name: held[name])
    lane.cluster.kill(victim)
    killed = _status_calls(lane)
    for key in keys:
        lane.sandbox.tell("POST", "/read", {"key": key, "count": 1})
    began = time.time()
    run.wait(TIMEOUT)
    lane.cluster.start(victim)
    row = Row(name=f"{count} sensors, one triggerer killed")
    row.figures = {"held": dict(held), "undisturbed_calls": undisturbed, "calls_after_kill": killed}
    row.figures |= {"states": _states(run), "all_read_to_end": round(time.time() - began, 1)}
    row.must(_states(run) == {"success": count}, "not all sensors fired")
    row.goal(0 < killed <= 1.1 * undisturbed, "more than 1.1 times the status calls")
    row.must(all(held[name] for name in TRIGGERERS), "one triggerer held all sensors")
    return [row]


def _states(run: DagRun) -> dict[str, int]:
    return dict(Counter(str(one["state"]) for one in instances(run, "wait")))


def _status_calls(lane: Lane) -> int:
    """Return the number of status calls in the next window."""
    before = lane.sandbox.calls(STATUS_API)
    time.sleep(WINDOW)
    return lane.sandbox.calls(STATUS_API) - before


# ── many runs ──


class Search(NamedTuple):
    """One recall of what many runs sent.

    :param requests: Number of requests of the search to the API server.
    :param to_first: Seconds from the start of the task to the first recall.
    :param request_ms: Milliseconds of one request of the same task to the API server, timed before and after, at the
        speed that the API server had meanwhile.
    """

    is_whole: bool
    requests: int
    to_first: float
    request_ms: float


def since(lane: Lane, runs: Sequence[int], people: Sequence[int]) -> list[Row]:
    """Recall what all runs of a DAG sent since a time: of few and of many runs, of few and of many people."""
    lane.clear()
    histories = [(1, 1), *((number, each) for each in people for number in runs)]
    keys = _add_past_runs(lane, histories)
    # The first search of a worker loads what the others have.
    _, *searches = [_search(lane, dag_id, keys[dag_id]) for dag_id in keys]
    return [_row_of(runs, each, *searches[2 * at : 2 * at + 2]) for at, each in enumerate(people)]


def _row_of(runs: Sequence[int], people: int, few: Search, many: Search) -> Row:
    """Judge what a run that sent takes.

    Both searches have the same fixed part, so their difference is the part of the further runs. Its time is compared
    with that of a single request of the same task, because that is Airflow's own, and depends on the machine.
    """
    further = runs[1] - runs[0]
    requests_per_run = (many.requests - few.requests) / further
    ms_per_run = 1000 * (many.to_first - few.to_first) / further
    row = Row(name=f"since over {runs[0]} and {runs[1]} runs of {people}")
    row.figures = {
        "requests": [few.requests, many.requests],
        "requests_per_run": round(requests_per_run, 2),
        "fixed_requests": round(few.requests - runs[0] * requests_per_run),
        "seconds_to_first": [round(few.to_first, 1), round(many.to_first, 1)],
        "ms_per_run": round(ms_per_run),
        "request_ms": round(many.request_ms, 1),
        "of_request": round(ms_per_run / many.request_ms, 1),
    }
    row.must(few.is_whole and many.is_whole, "not all messages are recalled")
    row.must(0 < requests_per_run <= 2, "more than 2 requests to the API server per run that sent")
    is_quick = ms_per_run <= max(MS_PER_RUN, REQUESTS_TIME * many.request_ms)
    row.goal(is_quick, f"more than {MS_PER_RUN} ms, and the time of {REQUESTS_TIME} requests, per run that sent")
    return row


def _add_past_runs(lane: Lane, histories: Sequence[tuple[int, int]]) -> dict[str, set[str]]:
    """Add DAGs with runs that ended within the last hour, and return the keys of their messages by DAG.

    They are rows of the database: real runs would take 15 minutes.

    :param histories: For each DAG, the number of its runs and of the messages of each.
    """
    found: dict[str, set[str]] = {}
    with ExitStack() as stack:
        adding = []
        for number, people in histories:
            keys, file = lane.create_keys("oto", number * people)
            dag_id = f"{number}_runs_of_{people}"
            found[dag_id] = {*keys}
            add = [sys.executable, "-m", "dev.past_runs", dag_id, str(number), str(people), "--keys", file]
            adding.append(stack.enter_context(subprocess.Popen(add, env=lane.cluster.env)))
    if any(one.returncode for one in adding):
        raise RuntimeError("the past runs could not be added")
    return found


def _search(lane: Lane, dag_id: str, keys: set[str]) -> Search:
    began = datetime.now(UTC) - timedelta(hours=1)
    log = lane.cluster.home / "api-server.log"
    before = log.stat().st_size
    run = start(lane, f"since_{lane.host}", dag=dag_id, since=began.isoformat()).wait(TIMEOUT)
    recalled = [message["recalled_at"] for message in lane.sandbox.messages() if message["key"] in keys]
    times = [moment for moment in recalled if moment]
    first = min(times, default=0.0) - datetime.fromisoformat(instances(run)[0]["start_date"]).timestamp()
    is_whole = run.state == "success" and len(times) == len(keys)
    # The requests of the recall and of the task do not name the DAG.
    lines = log.read_bytes()[before:].decode().splitlines()
    requests = sum("/execution/" in line and dag_id in line for line in lines)
    request_ms = mean(run.xcom("rollback", f"request_ms_{when}") for when in ("before", "after"))
    # A shared machine is half as fast from one minute to the next, so the same request is compared in the server's log.
    speed = mean(_durations(lines, dag_id)) / mean(_durations(lines, run.dag_id))
    return Search(is_whole, requests, first, request_ms * speed)


def _durations(lines: Sequence[str], dag_id: str) -> list[int]:
    """Return the microseconds that the API server took for each request for a run of a DAG."""
    found = [re.search(rf"duration_us=(\d+) .* path=/execution/dag-runs/{dag_id}/", line) for line in lines]
    return [int(one[1]) for one in found if one]
