"""Rows about the network: no connection, no answer, redirects, and harmful bodies."""

from __future__ import annotations

import asyncio
from typing import Any

from airflow_provider_dingtalk.client.hosts import hosts_at
from airflow_provider_dingtalk.client.transport import transport_for
from airflow_provider_dingtalk.exceptions import DingTalkError, NoResponseError, UnexpectedResponseError
from airflow_provider_dingtalk.jobs.recall import Recall
from airflow_provider_dingtalk.jobs.report import Outcome
from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.sandbox.testing import running_sandbox
from tests.faults.checks import account_of
from tests.faults.matrix import RowRun, recall_under
from tests.faults.scheme import Case, fault, hit_by
from tests.faults.surroundings import MEBIBYTE, MOST_GROWTH, Stopwatch, closed_port, listening, measured_memory
from tests.support.fake_servers import RECALL, raw_server
from tests.support.local_dingtalk import check_account, codes_of

#: Seconds after its deadline within which every request must end.
GRACE = 0.5


def nobody_listens(run: RowRun) -> None:
    """Refuse all connections; expect three tries of a request and all failed as not sent."""
    sandbox = run.sandbox()
    receipts = sandbox.plant_mixture({Kind.OTO: 50, Kind.GROUP: 50}, run.keys)
    url = f"http://127.0.0.1:{closed_port()}"
    wait_spec = Stopwatch(transport_for(url))
    job = Recall(receipts, clock=sandbox.clock)
    report = asyncio.run(job.run(sandbox.open(transport=wait_spec, hosts=hosts_at(url))))
    check_account(sandbox, report, receipts)
    assert set(codes_of(report, Outcome.FAILED).values()) <= {"not_sent", "not_attempted"}
    assert len(report.keys(Outcome.FAILED)) == run.keys
    assert not job.is_final
    assert sandbox.calls() == {}
    # Token calls are identical, so they are counted together: those of the first batch of each sender, and of the
    # ten workers after them.
    run.note(f"nobody listens: {sum(wait_spec.tries.values())} tries for {run.keys} keys")
    assert sum(wait_spec.tries.values()) <= 3 * (2 * 10 + 4)


def a_total_outage_ends_every_request_in_time(run: RowRun) -> None:
    """Accept every request and answer none."""
    deadline, sandbox = 0.3, run.sandbox()
    receipts = sandbox.plant_mixture({Kind.OTO: 50, Kind.GROUP: 50}, min(run.keys, 1000))
    sandbox.faults(*({"match": match, "action": {"type": "delay", "seconds": 20}} for match in ("robot/", "topapi/")))
    with running_sandbox(sandbox.state) as server:
        sandbox.url = server.url
        wait_spec = Stopwatch(transport_for(server.url))
        report = asyncio.run(_recalled_once(sandbox, receipts, wait_spec, deadline))
    check_account(sandbox, report, receipts)
    slowest, most_tries = max(wait_spec.seconds), max(wait_spec.tries.values())
    run.note(f"outage: {len(wait_spec.seconds)} requests, the slowest {slowest:.2f} s, most tries of one {most_tries}")
    assert slowest <= deadline + GRACE, f"a request took {slowest:.2f} s"
    assert most_tries <= 3, f"a request was tried {most_tries} times"
    run.done(sandbox)


async def _recalled_once(sandbox: Any, receipts: Any, wait_spec: Stopwatch, deadline: float) -> Any:
    client = sandbox.open(transport=wait_spec, deadline=deadline)
    report = await Recall(receipts, clock=sandbox.clock).run(client)
    await client.aclose()
    return report


def a_trickling_body_is_cut_at_the_deadline(run: RowRun) -> None:
    """Send the head or the body byte by byte; expect the request to end at its deadline."""
    deadline = 0.3

    async def drip(reader: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    async def drip_head(reader: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(b"x: y\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)

    for serve in (drip, drip_head):
        seconds = asyncio.run(_one_lost_call(run, serve, deadline))
        assert seconds <= deadline + GRACE, f"{serve.__name__}: {seconds:.2f} s"


async def _one_lost_call(run: RowRun, serve: Any, deadline: float) -> float:
    async with raw_server(serve) as (url, _):
        wait_spec = Stopwatch(transport_for(url))
        client = run.sandbox().open(transport=wait_spec, hosts=hosts_at(url), deadline=deadline)
        try:
            await client.call(RECALL)
        except NoResponseError as error:
            run.sinks.add_error(error)
        else:
            raise AssertionError("an answer that never came was taken")
        finally:
            await client.aclose()
    await asyncio.sleep(0.1)  # time for the server to notice that the client has gone
    return max(wait_spec.seconds)


def no_redirect_is_followed(run: RowRun) -> None:
    """Answer with redirects; expect errors, and no byte at the target."""
    with listening() as other:
        codes = (301, 302, 303, 307, 308)
        faults = [fault("redirect", side, url=f"{other.url}/v1.0/x", status=code)
                  for code in codes for side in ("before", "after")]  # fmt: skip
        _recall_row(run, hit_by(*faults, over_socket=True), run.keys)
        _token_redirect(run, other.url)
    assert other.connections == 0, f"{other.connections} connections to the other host: {other.heard[:80]!r}"


def _token_redirect(run: RowRun, url: str) -> None:
    sandbox = run.sandbox()
    sandbox.faults({"match": "oauth2/", "action": {"type": "redirect", "url": url}})
    try:
        asyncio.run(sandbox.open().call(RECALL))
    except DingTalkError as error:
        run.sinks.add_error(error)
    else:
        raise AssertionError("a redirected call for a token was taken for one")
    assert sandbox.recall_calls() == 0
    run.done(sandbox)


def bombs_do_not_go_off(run: RowRun) -> None:
    """Send compressed, long, deep and huge bodies; expect errors and bounded memory."""
    bombs = (
        fault("gzip_bomb", megabytes=200),
        fault("body", text="[" * 100_000),
        fault("body", "after", text='{"a":' * 100_000),
        fault("body", text='{"successResult":[' + "9" * 5000 + "]}"),
        fault("body", "after", text='{"errcode":' + "9" * 5000 + "}"),
        fault("body", text='{"successResult":[NaN],"errcode":Infinity}'),
        fault("body", text="x" * (5 * MEBIBYTE)),
        fault("body", "after", text='{"successResult":["' + "k" * (5 * MEBIBYTE) + '"]}'),
    )
    case = hit_by(*bombs, over_socket=True)
    _recall_row(run, case, 400)  # warm up, so pools and caches are not counted
    with measured_memory() as growth:
        _recall_row(run, case, max(400, run.keys - 400))
    _check_growth(run, "bombs", growth.peak)
    with measured_memory() as growth:
        read = asyncio.run(_endless_body(run))
    _check_growth(run, f"a body without end ({read // MEBIBYTE} MiB were sent)", growth.peak)


def _check_growth(run: RowRun, what: str, peak: int) -> None:
    run.note(f"{what}: memory grew by {peak / MEBIBYTE:.1f} MiB at most")
    assert peak <= MOST_GROWTH, f"{what}: memory grew by {peak / MEBIBYTE:.0f} MiB"


async def _endless_body(run: RowRun) -> int:
    sent = 0

    async def pour(reader: Any, writer: Any) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        while sent < 1024 * MEBIBYTE:
            writer.write(chunk)
            sent += len(chunk)
            await writer.drain()

    async with raw_server(pour) as (url, _):
        client = run.sandbox().open(transport=transport_for(url), hosts=hosts_at(url))
        try:
            await client.call(RECALL)
        except UnexpectedResponseError as error:
            run.sinks.add_error(error)
        else:
            raise AssertionError("a body of a gigabyte was taken")
        finally:
            await client.aclose()
    await asyncio.sleep(0.1)  # time for the server to notice that the client has gone
    assert sent < 64 * MEBIBYTE, f"{sent // MEBIBYTE} MiB were read"
    return sent


def _recall_row(run: RowRun, case: Case, keys: int) -> None:
    """Recall under faults defined at run time, with the invariants of the matrix."""
    figures = run.figures
    happened = recall_under(case, seed=run.seed * 100 + figures.row, keys=keys, sinks=run.sinks)
    account = account_of(happened)
    figures.keys += keys
    figures.fired += happened.hits
    figures.hit_share = round(happened.hits / max(1, happened.seen), 3)
    figures.calls += sum(happened.sandbox.calls().values())
    for name in ("lost", "double", "false_recalled", "false_failed", "unknown"):
        setattr(figures, name, getattr(figures, name) + getattr(account, name))
    assert not account.problems, account.problems
