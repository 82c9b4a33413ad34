"""Rows about the access token: not available, permanently dead, and needed by many callers at once."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from airflow_provider_dingtalk.client.auth import ThirdPartyApp
from airflow_provider_dingtalk.client.hosts import hosts_at
from airflow_provider_dingtalk.connection import event_loop
from airflow_provider_dingtalk.connection.settings import Settings
from airflow_provider_dingtalk.exceptions import AuthenticationError
from airflow_provider_dingtalk.jobs.recall import Recall
from airflow_provider_dingtalk.jobs.report import Outcome
from airflow_provider_dingtalk.messages.receipt import Kind
from airflow_provider_dingtalk.sandbox.default import CORP_ID, SUITE_KEY
from airflow_provider_dingtalk.sandbox.testing import running_sandbox
from tests.faults.fixtures import CanarySandbox
from tests.faults.matrix import RowRun
from tests.faults.scheme import MIXED
from tests.support.local_dingtalk import TOKEN_API, check_account, check_calls

MANY = 20
#: Faults of a token call by name.
TROUBLE: dict[str, dict[str, Any]] = {
    "down": {"type": "drop"},
    "500": {"type": "status", "status": 500},
    "502 page": {"type": "html", "status": 502},
    "expireIn 0": {"type": "mutate", "merge": {"expireIn": 0}},
    "expireIn negative": {"type": "mutate", "merge": {"expireIn": -7200}},
    "expireIn text": {"type": "mutate", "merge": {"expireIn": "two hours"}},
    "expireIn missing": {"type": "mutate", "merge": {"expireIn": None}},
    "no token": {"type": "mutate", "merge": {"accessToken": None}},
    "token a number": {"type": "mutate", "merge": {"accessToken": 7}},
    "token with a line feed": {"type": "mutate", "merge": {"accessToken": "a\nb"}},
    "wrong secret": {},
}
#: Absurd lifetimes. The token must work, and be renewed when DingTalk refuses it.
LONG_LIVES = (10**12, 2**63, 10**300, 10**400)


def no_token_means_no_recall(run: RowRun) -> None:
    """Refuse tokens; expect all failed, none unknown, and no recall call."""
    keys = max(40, run.keys // len(TROUBLE))
    for name, action in TROUBLE.items():
        sandbox = run.sandbox()
        receipts = sandbox.plant_mixture(dict(MIXED), keys)
        if action:
            sandbox.faults({"match": "oauth2/", "action": action})
        client = sandbox.open() if action else sandbox.client(secret=f"wrong {sandbox.secret[::-1]}")
        job = Recall(receipts, clock=sandbox.clock)
        report = asyncio.run(job.run(client))
        check_account(sandbox, report, receipts)
        check_calls(report, sandbox.calls())
        assert sandbox.recall_calls() == 0, name
        assert len(report.keys(Outcome.FAILED)) == keys, f"{name}: {report.counts()}"
        run.figures.keys += keys
        run.figures.fired += sandbox.calls()[TOKEN_API]
        run.sinks.add("reports", report.to_json(), report.table())
        run.done(sandbox)
    run.figures.hit_share = 1.0
    for seconds in LONG_LIVES:
        _a_long_life(run, seconds)


def _a_long_life(run: RowRun, seconds: int) -> None:
    sandbox = run.sandbox()
    receipts = sandbox.create_messages(Kind.OTO, 40)
    sandbox.faults({"match": "oauth2/", "action": {"type": "mutate", "merge": {"expireIn": seconds}}})
    report = asyncio.run(Recall(receipts, clock=sandbox.clock).run(sandbox.open()))
    check_account(sandbox, report, receipts)
    assert not report.keys(Outcome.UNKNOWN), f"a life of {seconds:.0e} s"
    run.done(sandbox)


def a_token_that_stays_dead_is_renewed_once(run: RowRun) -> None:
    """Refuse every token; expect one renewal for a call, and then the end of the recall."""
    sandbox = run.sandbox()
    receipts = sandbox.plant_mixture(dict(MIXED), 400)
    sandbox.faults({"match": "ecall", "action": {"type": "dead_token"}})
    job = Recall(receipts, clock=sandbox.clock)
    report = asyncio.run(job.run(sandbox.open()))
    check_account(sandbox, report, receipts)
    # The first calls of the six senders run in parallel and share each renewal.
    assert sandbox.calls()[TOKEN_API] <= 1 + 7
    assert max(entry.seq for entry in sandbox.recall_entries()) <= 40
    assert len(report.keys(Outcome.FAILED)) == 400
    assert job.is_final
    run.done(sandbox)


def twenty_need_one_token(run: RowRun) -> None:
    """Recall in one event loop and in threads; expect one token call."""
    sandbox = run.sandbox()
    shares = [sandbox.create_messages(Kind.OTO, max(20, run.keys // MANY)) for _ in range(MANY)]
    reports = asyncio.run(_side_by_side(sandbox, shares))
    for report, receipts in zip(reports, shares, strict=True):
        check_account(sandbox, report, receipts)
        assert report.counts()["recalled"] == len(receipts)
    assert sandbox.calls()[TOKEN_API] == 1, f"{sandbox.calls()[TOKEN_API]} calls for a token in one loop"
    run.figures.keys += sum(map(len, shares))
    run.done(sandbox)
    _threads(run)


async def _side_by_side(sandbox: CanarySandbox, shares: list[Any]) -> list[Any]:
    client = sandbox.open()
    return await asyncio.gather(*(Recall(share, clock=sandbox.clock).run(client) for share in shares))


def settings_to(sandbox: CanarySandbox, url: str) -> Settings:
    """Return the settings of a connection to the sandbox."""
    return Settings(
        app=sandbox.app,
        hosts=hosts_at(url),
        region="cn",
        robot_code=None,
        agent_id=None,
        calls_per_second=0,
        ca_file=None,
        fingerprint=hash((url, sandbox.secret)),
    )


async def nothing_to_mask(token: str) -> None:
    """Mask nothing, because there is no Airflow."""


def _threads(run: RowRun) -> None:
    sandbox = run.sandbox()
    shares = [sandbox.create_messages(Kind.GROUP, 20) for _ in range(MANY)]
    with running_sandbox(sandbox.state) as server, ThreadPoolExecutor(MANY) as pool:
        settings = settings_to(sandbox, server.url)

        def recall(receipts: Any) -> Any:
            async def work() -> Any:
                return await Recall(receipts).run(event_loop.client_for(settings, nothing_to_mask))

            return event_loop.run(work)

        reports = list(pool.map(recall, shares))
    assert all(report.counts()["recalled"] == 20 for report in reports)
    assert sandbox.calls()[TOKEN_API] == 1, f"{sandbox.calls()[TOKEN_API]} calls for a token in twenty threads"
    run.sinks.add("reprs", repr(settings))
    run.done(sandbox)


def a_third_party_app_shows_no_ticket(run: RowRun) -> None:
    """Use a third-party app; expect a token, and a refused ticket in no text."""
    for ticket in ("right", "wrong"):
        sandbox = run.sandbox()
        given = sandbox.ticket if ticket == "right" else sandbox.ticket[::-1]
        run.sinks.secrets.add(given)
        app = ThirdPartyApp(
            suite_key=SUITE_KEY,
            suite_secret=sandbox.suite_secret,
            corp_id=CORP_ID,
            suite_ticket=partial(str, given),
        )
        client = sandbox.open(app=app)
        run.sinks.add("reprs", repr(app), repr(client))
        try:
            asyncio.run(client.authenticate())
        except AuthenticationError as error:
            assert ticket == "wrong"
            run.sinks.add_error(error)
        else:
            assert ticket == "right"
        run.done(sandbox)
