"""Differences between Airflow versions, tested with the installed one."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import pytest
from airflow.sdk import DAG
from airflow.sdk.execution_time import task_runner

from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.operators import DingTalkSendOTOMessagesOperator
from airflow_provider_dingtalk.sandbox.default import CORP_ID, SUITE_KEY, SUITE_SECRET, SUITE_TICKET
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.version_compat import HAS_TASK_STATE_STORE, amask_secret, call_supervisor, events_since
from tests.support.airflow_seams import connection
from tests.support.supervisor import Supervisor, stream_of_process

pytestmark = pytest.mark.anyio


class Event(NamedTuple):
    timestamp: dt.datetime


EVENTS = [Event(dt.datetime(2026, 11, 28, hour, tzinfo=dt.UTC)) for hour in (8, 9, 10)]


@pytest.mark.parametrize(
    ("after", "found"),
    [
        (None, EVENTS),
        ("2026-11-28T08:00:00Z", EVENTS),
        ("2026-11-28T08:00:00.001Z", EVENTS[1:]),
        ("2026-11-28T17:00:00+08:00", EVENTS[1:]),
        ("2026-11-28T10:00:01Z", []),
    ],
)
def test_events_of_an_inlet_are_those_since_a_moment(after: str | None, found: list[Event]) -> None:
    """Airflow 3.1 returns all events as a list without a filter, so ours filters it."""
    assert events_since(EVENTS, after) == found


def answer(request: dict[str, Any]) -> tuple[dict[str, Any] | None, Any]:
    """Answer a look-up of a variable with the suite ticket, and any other request with nothing."""
    is_look_up = request["type"] == "GetVariable"
    found = {"type": "VariableResult", "key": request.get("key"), "value": SUITE_TICKET}
    return (found if is_look_up else None), None


@asynccontextmanager
async def triggerer() -> AsyncIterator[Supervisor]:
    """The stream between a triggerer's event loop and its supervisor, as Airflow itself makes it."""
    from airflow.jobs.triggerer_job_runner import TriggerCommsDecoder

    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    comms: Any = TriggerCommsDecoder(async_writer=writer, async_reader=reader, socket=ours)
    if hasattr(comms, "start_reader"):  # from 3.2.2 on
        await comms.start_reader()
    supervisor = Supervisor(theirs, answer)
    try:
        with stream_of_process(comms):
            yield supervisor
    finally:
        if reader_task := getattr(comms, "_reader_task", None):
            reader_task.cancel()
        writer.close()
        await asyncio.to_thread(supervisor.join)
        theirs.close()


async def test_masking_in_a_triggerer_leaves_its_stream_in_order() -> None:
    from airflow.sdk.execution_time.comms import GetVariable

    async def read(number: int) -> Any:
        return await task_runner.SUPERVISOR_COMMS.asend(GetVariable(key=f"key{number}"))

    async with triggerer() as supervisor:
        masks = [amask_secret(f"token-{number:05}") for number in range(50)]
        answers = await asyncio.gather(*(read(number) for number in range(50)), *masks)
    assert [answer.key for answer in answers[:50]] == [f"key{number}" for number in range(50)]
    assert supervisor.asked.count("MaskSecret") == 50


async def test_a_triggerer_reads_a_suite_ticket_beside_other_requests(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.execution_time.comms import GetVariable

    suite = {"app_type": "third_party", "corp_id": CORP_ID, "suite_ticket": "variable:ticket"}
    given = json.loads(connection(sandbox, extra=suite)) | {"login": SUITE_KEY, "password": SUITE_SECRET}
    monkeypatch.setenv("AIRFLOW_CONN_SUITE", json.dumps(given))

    async def read_on() -> None:
        while not done.done():
            answer: Any = await task_runner.SUPERVISOR_COMMS.asend(GetVariable(key="other"))
            assert answer.key == "other"

    async with triggerer() as supervisor:
        done = asyncio.ensure_future((await DingTalkHook("suite").aclient()).authenticate())
        await asyncio.gather(done, *(read_on() for _ in range(5)))
    assert "MaskSecret" in supervisor.asked
    assert sandbox.snapshot()["calls"] != {}


def test_a_workers_threads_read_each_its_own_answer() -> None:
    """Airflow 3.1 has no lock for the stream between a task and its supervisor."""
    from airflow.sdk.execution_time.comms import CommsDecoder, GetVariable

    ours, theirs = socket.socketpair()
    with ours, theirs:
        comms: Any = CommsDecoder(socket=ours)
        supervisor = Supervisor(theirs, answer)

        def ask(number: int) -> str:
            return str(comms.send(GetVariable(key=f"key{number}")).key)

        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(partial(call_supervisor, ask), range(2000)))
        ours.shutdown(socket.SHUT_RDWR)
        supervisor.join()
    assert found == [f"key{number}" for number in range(2000)]


@pytest.mark.parametrize(("allow_resend", "retries"), [(False, 2 if HAS_TASK_STATE_STORE else 0), (True, 2)])
def test_a_send_has_no_retries_where_they_would_lose_receipts(allow_resend: bool, retries: int) -> None:
    given: dict[str, Any] = {"text": "hello", "allow_resend": allow_resend}
    with DAG("some", schedule=None, default_args={"retries": 2}):
        one = DingTalkSendOTOMessagesOperator(task_id="one", user_ids=["u"], **given)
        named = DingTalkSendOTOMessagesOperator(task_id="named", user_ids=["u"], retries=2, **given)
        mapped = DingTalkSendOTOMessagesOperator.partial(task_id="mapped", **given).expand(user_ids=[["u"]])
    assert [one.retries, named.retries, mapped.retries] == [retries] * 3
