"""Event loops: short ones leave nothing behind, and uvloop works as asyncio does."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from weakref import ref

import pytest
import uvloop
from msgspec.json import decode
from redis import Redis

from airflow_provider_dingtalk.client.rate_limit.state import LimiterState
from airflow_provider_dingtalk.client.transport import transport_for
from airflow_provider_dingtalk.connection.event_loop import _states
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.sandbox.default import GROUPS
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from dev import services
from tests.support.connections import Connect

TEXT = {"open_conversation_id": GROUPS[0], "text": "hello"}


async def send_and_recall(hook: DingTalkHook) -> int:
    receipts = await hook.asend("group", **TEXT)
    return int((await hook.arecall(receipts))["counts"]["recalled"])


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_loop_for_each_call_leaves_no_descriptor_client_or_loop(
    hook: DingTalkHook, sandbox: SandboxServer, run
) -> None:
    loops: list[ref[asyncio.AbstractEventLoop]] = []

    async def once() -> int:
        loops.append(ref(asyncio.get_running_loop()))
        return await send_and_recall(hook)

    run(once())
    sandbox_ends = [settle(), *[(run(once()), settle())[1] for _ in range(30)]]
    assert sandbox_ends[-1] <= sandbox_ends[0] + 2, sandbox_ends
    assert len([loop for loop in _states if loop.is_closed()]) <= 1
    gc.collect()
    # One is ours. asgiref, which Airflow uses to mask secrets, keeps one, too.
    assert sum(loop() is not None for loop in loops) <= 2


def settle() -> int:
    """Return this process's descriptors, after the sandbox in it has noticed closed connections."""
    before = -1
    while (now := descriptors()) != before:
        before = now
        asyncio.run(asyncio.sleep(0.02))
    return now


def test_a_loop_that_is_closed_without_ceremony_leaves_nothing_either(
    hook: DingTalkHook, sandbox: SandboxServer, caplog: pytest.LogCaptureFixture
) -> None:
    gone = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # asyncio warns of sockets that were not closed
        for _ in range(4):
            loop = asyncio.new_event_loop()
            assert loop.run_until_complete(send_and_recall(hook)) == 1
            loop.close()
            gone.append(ref(loop))
        del loop
        assert asyncio.run(send_and_recall(hook)) == 1
        gc.collect()
    assert sum(loop() is not None for loop in gone) <= 1  # asgiref's
    assert "Unclosed" not in caplog.text


def test_a_transport_outlives_its_loop(sandbox: SandboxServer) -> None:
    import httpx

    transport = transport_for(sandbox.url)

    async def once() -> int:
        response = await transport.handle_async_request(httpx.Request("GET", f"{sandbox.url}/_sandbox/truth"))
        await response.aread()
        return response.status_code

    assert [asyncio.run(once()) for _ in range(3)] == [200] * 3


SCRIPT = """
import asyncio, json, sys
import uvloop
asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
from airflow_provider_dingtalk.hooks import DingTalkHook
hook = DingTalkHook()
text = json.loads(sys.argv[1])
receipts = hook.send("group", **text)
sync = hook.recall(receipts)["counts"]["recalled"]
async def both():
    return (await hook.arecall(await hook.asend("group", **text)))["counts"]["recalled"]
print(json.dumps([hook.test_connection()[0], sync, asyncio.run(both())]))
"""


def test_with_uvloops_policy_sync_and_async_calls_work(hook: DingTalkHook) -> None:
    """As ``uvloop.install()`` in a plugin or in airflow_local_settings sets it, for the hook's own loop too."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, json.dumps(TEXT)],
        env=dict(os.environ),  # with the connection
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["[true, 1, 1]"], done.stderr


@pytest.mark.parametrize("seed", ["1", "2"])
def test_an_interruption_at_any_moment_comes_through_as_itself_and_the_loop_goes_on(seed):
    command = [sys.executable, "-m", "tests.connection.storm_of_signals", seed]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    starts, interruptions, outcome = done.stdout.split()
    assert outcome == "done"
    # The lines of the start, and of ``run`` around it.
    assert int(starts) >= 20
    assert int(interruptions) >= 50


SEND = """
import json, sys
from airflow_provider_dingtalk.hooks import DingTalkHook
print(len(DingTalkHook().send("group", **json.loads(sys.argv[1]))))
"""


def test_the_end_of_a_process_leaves_no_permit_taken_in_redis(connect: Connect, tmp_path: Path) -> None:
    connect(extra={"calls_per_second": 20})
    redis = services.Redis(tmp_path)
    redis.start()
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", SEND, json.dumps(TEXT)],
            env={**os.environ, "AIRFLOW__DINGTALK__RATE_LIMIT_URL": redis.url},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        with Redis.from_url(redis.url) as client:
            states = [decode(client.get(key), type=LimiterState) for key in client.keys()]  # noqa: SIM118 - no dict
    finally:
        redis.remove()
    assert done.stdout.splitlines()[-1:] == ["1"], done.stderr
    assert "rate limit" not in done.stderr
    # One of the token, one of the send.
    assert [[permit.number for permit in state.permits] for state in states] == [[0], [0]]
