"""Waiters that are measured, each in its own process: ``python -m benchmarks.waiters NAME``.

The process reads one line of JSON from standard input, waits for the given time, and prints one line of JSON with
the cost. The triggers are the real ones. Their arguments pass through JSON as in Airflow's database, and all run
in one event loop as in the triggerer. The connection comes from the environment, as in Airflow without a
supervisor.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from benchmarks.meters import LoopLag, processor_seconds, resident_bytes

#: Seconds over which the starts of single waits are spread, and seconds from then until the meters start. So no
#: poll is due when the calls are counted.
SPREAD = 28.0
PAUSE = 1.0
POLL_INTERVAL = 30.0
#: Seconds for which the idle loop is measured first.
IDLE = 6.0
MANY_CALLS = 10_000_000
CONN_ID = "dingtalk_default"


#: Output that the benchmark reads. Triggers log to standard output, so this is a duplicate of it.
_told = os.fdopen(os.dup(1), "w")


def _say(text: str) -> None:
    print(text, file=_told, flush=True)


Sleep = Callable[[float], Awaitable[Any]]


async def _metered(sleep: Sleep, seconds: float) -> dict[str, Any]:
    """Measure CPU in the first half of a period, then loop lag.

    The lag meter wakes the loop 100 times per second, which takes 1 % of a core.
    """
    began, used = time.monotonic(), processor_seconds()
    await sleep(seconds / 2)
    taken = (processor_seconds() - used) / (time.monotonic() - began)
    lag = LoopLag()
    sampling = asyncio.ensure_future(lag.sample())
    await sleep(seconds / 2)
    sampling.cancel()
    return {
        "seconds": round(time.monotonic() - began, 3),
        "cpu_percent": round(100 * taken, 2),
        "lag_p50_ms": round(lag.milliseconds(50), 3),
        "lag_p99_ms": round(lag.milliseconds(99), 3),
        "lag_max_ms": round(lag.milliseconds(100), 1),
    }


async def _idle() -> dict[str, Any]:
    """Measure the idle loop."""
    return await _metered(asyncio.sleep, IDLE)


def _unless_one_fails(tasks: Sequence[asyncio.Future[Any]]) -> Sleep:
    async def sleep(seconds: float) -> None:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)

    return sleep


# ── ours ─────────────────────────────────────────────────────────────────────────────────────────────


def _arguments(keys: Sequence[str]) -> str:
    """Return a trigger's arguments as JSON, as in Airflow's database.

    The trigger waits for 1,000 readers, so it never ends.
    """
    from airflow_provider_dingtalk.jobs.poll_schedule import poll_schedule_of
    from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
    from airflow_provider_dingtalk.sandbox.default import ROBOT_CODE
    from airflow_provider_dingtalk.task.wait_spec import new_wait_progress, wait_spec_of_receipts

    receipts = [Receipt(kind=Kind.OTO, robot_code=ROBOT_CODE, process_query_key=key).to_json() for key in keys]
    now = time.time()
    return json.dumps(
        {
            "dingtalk_conn_id": CONN_ID,
            "wait_spec": wait_spec_of_receipts(receipts, min_readers=1).to_json(),
            "poke_interval": POLL_INTERVAL,
            "end": now + 86_400,
            "wait_progress": new_wait_progress(poll_schedule_of(POLL_INTERVAL), now, MANY_CALLS).to_json(),
        }
    )


async def _run(arguments: str) -> None:
    from airflow_provider_dingtalk.triggers import DingTalkMessageTrigger

    trigger = DingTalkMessageTrigger(**json.loads(arguments))
    try:
        async for event in trigger.run():
            raise RuntimeError(f"the wait is over: {event}")
    finally:
        await trigger.cleanup()


async def _warm_up(key: str) -> None:
    """Run one wait for 1 s to load client, TLS context, token and modules."""
    await _for_a_moment([asyncio.ensure_future(_run(_arguments([key])))], 1.0)


async def _for_a_moment(tasks: Sequence[asyncio.Future[Any]], seconds: float) -> None:
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


async def one_trigger(given: dict[str, Any]) -> dict[str, Any]:
    """Run one trigger with all messages for ``seconds``."""
    keys: list[str] = given["keys"]
    await _warm_up(keys[0])
    idle = await _idle()
    text = _arguments(keys)
    before = resident_bytes()
    task = asyncio.ensure_future(_run(text))
    await asyncio.sleep(given["warm_up"])
    _say("begin")
    read = await _metered(_unless_one_fails([task]), given["seconds"])
    _say("end")
    grown = resident_bytes() - before
    await _for_a_moment([task], 0)
    return {**read, "idle": idle, "bytes_each": round(grown / len(keys))}


async def single_waits(given: dict[str, Any]) -> dict[str, Any]:
    """Run a trigger for each message for ``intervals`` poll intervals.

    All triggers start within the first interval.
    """
    keys: list[str] = given["keys"]
    await _warm_up(keys[0])
    idle = await _idle()
    before = resident_bytes()
    _say("begin")
    # Sensors make the arguments in workers, not in the triggerer, so they are made once and copied here.
    text, began = _arguments(["KEY"]), time.time()

    def begin(key: str) -> Awaitable[None]:
        arguments = json.loads(text.replace("KEY", key))
        arguments["wait_progress"]["began"] += time.time() - began
        return _run(json.dumps(arguments))

    tasks = await _staggered(keys, begin)
    read = await _metered(_unless_one_fails(tasks), POLL_INTERVAL * given["intervals"])
    _say("end")
    grown = resident_bytes() - before
    await _for_a_moment(tasks, 0)
    return {**read, "idle": idle, "bytes_each": round(grown / len(keys))}


async def _staggered(keys: Sequence[str], begin: Callable[[str], Awaitable[None]]) -> list[asyncio.Future[Any]]:
    began = time.monotonic()
    tasks: list[asyncio.Future[Any]] = []
    for number, key in enumerate(keys):
        late = began + SPREAD * number / len(keys) - time.monotonic()
        if late > 0:
            await asyncio.sleep(late)
        tasks.append(asyncio.ensure_future(begin(key)))
    await asyncio.sleep(max(began + SPREAD + PAUSE - time.monotonic(), 0))
    return tasks


# ── peers ────────────────────────────────────────────────────────────────────────────────────────────


async def aiohttp_bare(given: dict[str, Any]) -> dict[str, Any]:
    """Poll one message after the other at a ``rate`` for ``seconds``, with an ``aiohttp.ClientSession`` alone."""
    import aiohttp

    from airflow_provider_dingtalk.sandbox.default import ROBOT_CODE

    headers = {"x-acs-dingtalk-access-token": given["token"]}
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=given["ca_file"]))
    async with aiohttp.ClientSession(given["url"], connector=connector, headers=headers) as session:

        async def poll(key: str) -> None:
            query = {"robotCode": ROBOT_CODE, "processQueryKey": key}
            async with session.get("/v1.0/robot/oToMessages/readStatus", params=query) as answer:
                answer.raise_for_status()
                await answer.json()

        async def poll_all() -> None:
            began = time.monotonic()
            async with asyncio.TaskGroup() as polls:
                for number in itertools.count():
                    polls.create_task(poll(given["keys"][number % len(given["keys"])]))
                    await asyncio.sleep(max(began + (number + 1) / given["rate"] - time.monotonic(), 0))

        task = asyncio.ensure_future(poll_all())
        await asyncio.sleep(given["warm_up"])
        _say("begin")
        read = await _metered(_unless_one_fails([task]), given["seconds"])
        _say("end")
        await _for_a_moment([task], 0)
    return read


async def client_per_poll(given: dict[str, Any]) -> dict[str, Any]:
    """Run the same waits with a new client for each poll."""
    import httpx

    from airflow_provider_dingtalk.sandbox.default import ROBOT_CODE

    keys: list[str] = given["keys"]
    headers = {"x-acs-dingtalk-access-token": given["token"]}
    errors = 0

    async def wait(key: str) -> None:
        nonlocal errors
        began = time.monotonic()
        polls = 0
        while True:
            try:
                query = {"robotCode": ROBOT_CODE, "processQueryKey": key}
                context = ssl.create_default_context(cafile=given["ca_file"])
                async with httpx.AsyncClient(verify=context, headers=headers, timeout=30) as client:
                    answer = await client.get(f"{given['url']}/v1.0/robot/oToMessages/readStatus", params=query)
                    answer.raise_for_status()
            except httpx.HTTPError:
                errors += 1
            polls = max(polls + 1, int((time.monotonic() - began) / POLL_INTERVAL) + 1)
            await asyncio.sleep(began + polls * POLL_INTERVAL - time.monotonic())

    idle = await _idle()
    before = resident_bytes()
    _say("begin")
    tasks = await _staggered(keys, wait)
    read = await _metered(asyncio.sleep, POLL_INTERVAL * given["intervals"])
    _say("end")
    grown = resident_bytes() - before
    await _for_a_moment(tasks, 0)
    return {**read, "idle": idle, "bytes_each": round(grown / len(keys)), "errors": errors}


WAITERS: dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]] = {
    waiter.__name__: waiter for waiter in (one_trigger, single_waits, aiohttp_bare, client_per_poll)
}


async def _main(name: str) -> None:
    given = json.loads(sys.stdin.readline())
    os.environ.update(given.get("env", {}))
    _say(json.dumps(await WAITERS[name](given)))


if __name__ == "__main__":
    # Triggers write their logs, as in the triggerer, but to /dev/null.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    asyncio.run(_main(sys.argv[1]))
