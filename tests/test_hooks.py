"""The hook against a running sandbox: sync and async, in threads and forks, interrupted, refused, self-tested."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import anyio
import pytest

from airflow_provider_dingtalk.client.endpoints import QueryGroupMessage, SendWorkNotification, fields_of
from airflow_provider_dingtalk.connection import event_loop
from airflow_provider_dingtalk.exceptions import (
    ConfigurationError,
    IncompleteSendError,
    InvalidInputError,
    InvalidKeyError,
)
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.jobs.recall import Recall
from airflow_provider_dingtalk.messages.receipt import parse_receipts
from airflow_provider_dingtalk.sandbox.default import (
    CLIENT_SECRET,
    CORP_ID,
    GROUPS,
    ROBOT_CODE,
    SUITE_KEY,
    SUITE_SECRET,
    SUITE_TICKET,
)
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from airflow_provider_dingtalk.version_compat import AirflowTaskTimeout
from tests.support.airflow_seams import TOKEN_API, calls, is_recalled, key_of, planted
from tests.support.connections import Connect

GROUP_RECALL = "robot/groupMessages/recall"
#: Timeout of waits for other processes and threads in seconds.
LONG = 30
ASYNC = pytest.mark.anyio


# ── sync and async ───────────────────────────────────────────────────────────────────────────────────


def test_send_status_and_recall(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    (receipt,) = hook.send("group", open_conversation_id=GROUPS[0], text="hello")
    assert json.loads(json.dumps(receipt)) == receipt
    assert (receipt["kind"], receipt["robot_code"], receipt["version"]) == ("group", ROBOT_CODE, 2)
    assert receipt["conn_id"] == "dingtalk_default"
    key = key_of(receipt)
    sandbox.state.read(sandbox.state.messages[key], ["user007"])
    (message_status,) = hook.status([receipt])
    assert (message_status.send_status, message_status.readers) == ("SUCCESS", ("user007",))
    (message_status,) = hook.status(json.dumps(receipt), readers=False)
    assert (message_status.send_status, message_status.readers) == ("SUCCESS", None)
    report = hook.recall([None, [receipt]])
    assert (report["recalled"], report["counts"]["total"]) == ([key], 1)
    assert is_recalled(sandbox, receipt)
    assert hook.status([receipt])[0].send_status == "RECALLED"


def test_one_broken_message_does_not_hide_the_state_of_the_others(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    first, other = planted(sandbox, "group", 2, readers=1)
    broken = {**first, "process_query_key": "none"}
    found = hook.status([broken, other, other])
    assert [message_status.send_status for message_status in found] == [None, "SUCCESS", "SUCCESS"]
    assert found[0].error is not None and found[0].error.code == "invalid.processQueryKey"
    assert found[0].error.next_step
    assert (found[1].error, len(found[1].readers or ())) == (None, 1)


@ASYNC
async def test_nor_does_it_from_a_running_loop(sandbox: SandboxServer, async_hook: DingTalkHook) -> None:
    first, other = planted(sandbox, "group", 2)
    found = await async_hook.astatus([{**first, "process_query_key": "none"}, other])
    assert [message_status.error.code if message_status.error else None for message_status in found] == [
        "invalid.processQueryKey",
        None,
    ]
    gone = {**other, "conn_id": "nowhere"}
    found = await async_hook.astatus([gone, other])
    assert found[0].error is not None and "nowhere" in found[0].error.message
    assert found[1].send_status == "SUCCESS"


def test_any_endpoint_can_be_called(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    (receipt,) = planted(sandbox, "group")
    query = QueryGroupMessage(process_query_key=key_of(receipt), open_conversation_id=GROUPS[0], robot_code=ROBOT_CODE)
    assert hook.call(query).send_status == "SUCCESS"
    foreign = QueryGroupMessage(process_query_key="none", open_conversation_id=GROUPS[0], robot_code=ROBOT_CODE)
    with pytest.raises(InvalidKeyError):
        hook.call(foreign)


@pytest.fixture
async def async_hook(connect: Connect) -> AsyncIterator[DingTalkHook]:
    """A hook on the test's own loop, its connections closed at the end."""
    hook = connect()
    yield hook
    await (await hook.aclient()).aclose()


@ASYNC
async def test_the_same_from_a_running_loop(sandbox: SandboxServer, async_hook: DingTalkHook) -> None:
    (receipt,) = await async_hook.asend("oto", user_ids=["user001"], text="hello")
    key = key_of(receipt)
    assert [message_status.send_status for message_status in await async_hook.astatus(receipt)] == ["SUCCESS"]
    report = await async_hook.arecall(receipt)
    assert (report["recalled"], report["counts"]["total"]) == ([key], 1)
    assert is_recalled(sandbox, receipt)
    (group,) = planted(sandbox, "group")
    query = QueryGroupMessage(process_query_key=key_of(group), open_conversation_id=GROUPS[0], robot_code=ROBOT_CODE)
    assert (await async_hook.acall(query)).send_status == "SUCCESS"
    assert calls(sandbox)[TOKEN_API] == 1


@ASYNC
async def test_async_errors_are_those_of_the_sync_side(sandbox: SandboxServer, async_hook: DingTalkHook) -> None:
    with pytest.raises(IncompleteSendError) as raised:
        await async_hook.asend("group", open_conversation_id=[GROUPS[0], "cidnowhere"], text="hello")
    assert [receipt.open_conversation_id for receipt in raised.value.receipts] == [GROUPS[0]]
    with pytest.raises(InvalidInputError, match=r"receipts\[0\]\.kind"):
        await async_hook.arecall([{}])
    with pytest.raises(ConfigurationError, match="dingtalk_conn_id: cannot read the connection 'nowhere'"):
        await DingTalkHook("nowhere").astatus([])


@ASYNC
async def test_sync_methods_work_beside_a_running_loop(sandbox: SandboxServer, async_hook: DingTalkHook) -> None:
    """An ``async`` task that calls sync code in a thread."""
    (receipt,) = planted(sandbox, "oto")
    report = await anyio.to_thread.run_sync(async_hook.recall, [receipt])
    assert report["counts"]["recalled"] == 1


def test_connections_of_one_app_share_a_pace_in_a_file(
    sandbox: SandboxServer, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW__DINGTALK__PACE_DIR", str(tmp_path / "pace"))
    for _ in range(2):
        hook = connect(extra={"calls_per_second": 50})
        assert hook.recall(planted(sandbox, "oto"))["counts"]["recalled"] == 1
    # One file for the API and one for tokens; both have the calls of the last second.
    found = [json.loads(path.read_bytes()) for path in (tmp_path / "pace").iterdir()]
    assert len(found) == 2 and all(book["calls"] for book in found)


def test_without_a_limit_there_is_no_pace_to_share(
    sandbox: SandboxServer, hook: DingTalkHook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW__DINGTALK__PACE_DIR", str(tmp_path / "pace"))
    hook.recall(planted(sandbox, "oto"))
    assert not (tmp_path / "pace").exists()


# ── one client for all ───────────────────────────────────────────────────────────────────────────────


def test_many_hooks_of_one_connection_take_one_token(sandbox: SandboxServer, connect: Connect) -> None:
    connect()

    def recall_one(_: int) -> int:
        (receipt,) = planted(sandbox, "oto")
        return int(DingTalkHook().recall(receipt)["counts"]["recalled"])

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(recall_one, range(24))) == 24
    assert calls(sandbox) == {TOKEN_API: 1, "robot/otoMessages/batchRecall": 24}


def test_a_dead_token_is_renewed_once_and_the_call_made_again(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    hook.recall(planted(sandbox, "oto"))
    sandbox.faults({"action": {"type": "dead_token", "revoke": True}, "match": "batchRecall", "times": 1})
    assert hook.recall(planted(sandbox, "oto"))["counts"]["recalled"] == 1
    assert calls(sandbox) == {TOKEN_API: 2, "robot/otoMessages/batchRecall": 3}


# ── whose robot it is ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("of_hook", "of_call", "expected"),
    [
        (None, None, ROBOT_CODE),
        ("hooks-robot", None, "hooks-robot"),
        ("hooks-robot", "calls-robot", "calls-robot"),
    ],
)
def test_the_nearest_robot_code_wins(connect: Connect, of_hook: str | None, of_call: str | None, expected: str) -> None:
    connect()
    hook = DingTalkHook(robot_code=of_hook)
    send_requests = hook.send_requests("oto", user_ids=["user001"], text="hello", robot_code=of_call)
    assert [fields_of(send_request.call)["robotCode"] for send_request in send_requests] == [expected]
    assert hook.defaults()["robot_code"] == (of_hook or ROBOT_CODE)


@pytest.mark.parametrize(
    ("of_hook", "of_call", "expected"), [(None, None, 1000), (5, None, 5), ("5", None, 5), (5, 7, 7)]
)
def test_the_nearest_agent_id_wins(connect: Connect, of_hook: Any, of_call: Any, expected: int) -> None:
    connect()
    (send_request,) = DingTalkHook(agent_id=of_hook).send_requests(
        "work_notification", user_ids=["user001"], text="hello", agent_id=of_call
    )
    assert isinstance(send_request.call, SendWorkNotification)
    assert send_request.call.agent_id == expected


def test_without_any_robot_the_error_names_both_places(connect: Connect) -> None:
    hook = connect(extra={"robot_code": None})
    with pytest.raises(InvalidInputError, match="robot_code: is missing; give it, or set it in the connection"):
        hook.send("oto", user_ids=["user001"], text="hello")


def test_an_incomplete_send_carries_the_receipts_of_what_was_sent(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    with pytest.raises(IncompleteSendError) as raised:
        hook.send("group", open_conversation_id=[GROUPS[0], GROUPS[1], "cidnowhere", GROUPS[2]], text="hello")
    receipts = [receipt.to_json() for receipt in raised.value.receipts]
    assert [receipt["open_conversation_id"] for receipt in receipts] == list(GROUPS)
    assert sorted(map(key_of, receipts)) == sorted(map(str, sandbox.state.messages))
    assert raised.value.permanent, "a retry that knows nothing of what was sent would send it twice"
    assert hook.recall(receipts)["counts"]["recalled"] == 3


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", [endless(), nested(50_000), [nested(20)]], ids=["endless", "deep", "too deep"])
def test_lists_without_an_end_are_refused_by_name(sandbox: SandboxServer, hook: DingTalkHook, value: Any) -> None:
    for method in (hook.recall, hook.status):
        with pytest.raises(InvalidInputError, match=r"^receipts: is nested deeper"):
            method(value)
    with pytest.raises(InvalidInputError, match=r"^user_ids\[0\]: must be text"):
        hook.send("oto", user_ids=value, text="hello")
    assert calls(sandbox) == {}


@pytest.mark.parametrize("value", [endless(), nested(50_000)], ids=["endless", "deep"])
def test_a_message_without_an_end_is_refused_by_name(
    sandbox: SandboxServer, hook: DingTalkHook, value: list[Any]
) -> None:
    with pytest.raises(InvalidInputError, match=r"^msg_param: "):
        hook.send("oto", user_ids="user001", msg_key="other", msg_param={"deep": value})
    assert calls(sandbox) == {}


# ── test_connection ──────────────────────────────────────────────────────────────────────────────────

SENTINEL = "s3cret/+=Sentinel"


def told(hook: DingTalkHook, sandbox: SandboxServer, *secrets: str) -> tuple[bool, str]:
    """Return the result of ``test_connection``, after checks of what it must not do."""
    works, text = hook.test_connection()
    assert isinstance(works, bool) and isinstance(text, str) and text
    for secret in (CLIENT_SECRET, SENTINEL, SUITE_SECRET, SUITE_TICKET, *secrets, *sandbox.state.tokens):
        assert secret not in text
    assert set(calls(sandbox)) <= {TOKEN_API, "oauth2/corpAccessToken"}
    assert not sandbox.state.messages
    return works, text


def test_a_good_connection_is_called_good_for_one_token(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    works, text = told(hook, sandbox)
    assert works and sandbox.url in text and "Nothing was sent" in text
    assert calls(sandbox) == {TOKEN_API: 1}


def test_a_good_third_party_connection_is_called_good(sandbox: SandboxServer, connect: Connect) -> None:
    extra = {"app_type": "third_party", "corp_id": CORP_ID, "suite_ticket_secret": SUITE_TICKET, "region": "cn"}
    works, text = told(connect(login=SUITE_KEY, password=SUITE_SECRET, extra=extra), sandbox)
    assert works and sandbox.url in text
    assert calls(sandbox) == {"oauth2/corpAccessToken": 1}


@pytest.mark.parametrize("change", [{"password": SENTINEL}, {"login": "dingnobody"}])
def test_a_refused_key_is_called_so_and_the_region_named_as_a_cause(
    sandbox: SandboxServer, connect: Connect, change: dict[str, str]
) -> None:
    works, text = told(connect(**change), sandbox)
    assert not works
    assert "invalidClientIdOrSecret" in text and "region" in text


def test_a_refused_ticket_is_called_so(sandbox: SandboxServer, connect: Connect) -> None:
    extra = {"app_type": "third_party", "corp_id": CORP_ID, "suite_ticket_secret": SENTINEL}
    works, text = told(connect(login=SUITE_KEY, password=SUITE_SECRET, extra=extra), sandbox)
    assert (works, "invalidSuiteTicket" in text) == (False, True)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"password": ""}, "password"),
        ({"login": ""}, "login"),
        ({"host": f"http://u:{SENTINEL}@127.0.0.1"}, "host"),
        ({"host": "https://example.com"}, "allowed_hosts"),
        ({"extra": {"region": "eu"}}, "region"),
        ({"extra": {"app_type": "third_party"}}, "corp_id"),
        ({"extra": {"ca_file": "/no/such/file"}}, "ca_file"),
        ({"host": "https://127.0.0.1:1", "extra": {"ca_file": __file__}}, "ca_file"),
        (
            {
                "extra": {
                    "app_type": "third_party",
                    "corp_id": CORP_ID,
                    "suite_ticket_secret": "variable:never_set",
                }
            },
            "suite_ticket",
        ),
    ],
)
def test_a_bad_connection_is_told_by_its_field_without_a_call(
    sandbox: SandboxServer, connect: Connect, change: dict[str, Any], word: str
) -> None:
    works, text = told(connect(**change), sandbox)
    assert (works, word in text) == (False, True), text
    assert calls(sandbox) == {}


def test_a_missing_connection_is_told_by_its_id(sandbox: SandboxServer) -> None:
    works, text = told(DingTalkHook("nowhere"), sandbox)
    assert (works, "nowhere" in text) == (False, True)


def test_an_unreachable_dingtalk_is_told_with_what_to_check(sandbox: SandboxServer, connect: Connect) -> None:
    with socket.socket() as taken:
        # Bound but not listening, so no other process can listen on the port.
        taken.bind(("127.0.0.1", 0))
        works, text = told(connect(host=f"http://127.0.0.1:{taken.getsockname()[1]}"), sandbox)
    assert (works, "not_sent" in text, "(refused)" in text) == (False, True, True)
    assert "Is the sandbox running?" in text


@pytest.mark.parametrize(
    ("action", "word"),
    [
        (
            {"type": "status", "status": 403, "code": "Forbidden.AccessDenied.AccessTokenPermissionDenied"},
            "Forbidden",
        ),
        ({"type": "ban"}, "1111"),
        ({"type": "body", "text": f'{{"accessToken": "{SENTINEL}\\n", "expireIn": 7200}}'}, "unexpected_answer"),
        ({"type": "status", "status": 400, "code": "some.code", "message": f"no {CLIENT_SECRET}"}, "some.code"),
    ],
)
def test_an_odd_answer_is_told_by_its_code(
    sandbox: SandboxServer, hook: DingTalkHook, action: dict[str, Any], word: str
) -> None:
    sandbox.faults({"action": action})
    works, text = told(hook, sandbox)
    assert (works, word in text) == (False, True), text


# ── forks ────────────────────────────────────────────────────────────────────────────────────────────


def _in_child(pipe: Pipe, receipt: dict[str, Any], parents_loop: int) -> None:
    report = DingTalkHook().recall(receipt)
    own = event_loop.run(_thread_of_loop)
    pipe.send((report["recalled"], own != parents_loop, os.getpid()))
    pipe.close()


async def _thread_of_loop() -> int:
    return threading.get_native_id()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_child_gets_a_loop_of_its_own(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    ours, childs = planted(sandbox, "oto", 2)
    assert hook.recall(ours)["counts"]["recalled"] == 1
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)
    child = fork.Process(target=_in_child, args=(there, childs, event_loop.run(_thread_of_loop)))
    child.start()
    there.close()
    try:
        assert here.poll(LONG), "the child hangs: it waits for its parent's loop"
        recalled, has_its_own, pid = here.recv()
        child.join(LONG)
    finally:
        child.kill()
        here.close()
    assert (recalled, has_its_own, pid) == ([key_of(childs)], True, child.pid)
    assert child.exitcode == 0
    assert is_recalled(sandbox, childs)
    assert hook.recall(planted(sandbox, "oto"))["counts"]["recalled"] == 1, "the parent's loop still works"


# ── interruptions ────────────────────────────────────────────────────────────────────────────────────


class OwnInterruption(BaseException):
    """Exception of a foreign signal handler."""


@contextmanager
def alarm_at_call(sandbox: SandboxServer, api: str, number: int) -> Iterator[None]:
    """Send this process the alarm signal when the ``number``-th call of an API has arrived."""
    is_over = threading.Event()

    def wait_spec() -> None:
        while not is_over.wait(0.001):
            arrived = sandbox.state.journal.calls.get(api)
            if arrived and arrived.total >= number:
                signal.setitimer(signal.ITIMER_REAL, 0.001)
                return

    thread = threading.Thread(target=wait_spec, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@contextmanager
def raising_on_alarm(kind: type[BaseException]) -> Iterator[None]:
    """Let the alarm signal raise, as Airflow's timeouts do."""

    def handler(number: int, frame: Any) -> None:
        raise kind("interrupted")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, AirflowTaskTimeout, OwnInterruption])
def test_an_interrupted_recall_ends_its_call_begins_no_other_and_has_a_complete_report(
    sandbox: SandboxServer, hook: DingTalkHook, interruption: type[BaseException]
) -> None:
    receipts = planted(sandbox, "group", 200)
    # Slow enough for the interruption to find the call in flight, within the grace period of calls in flight.
    sandbox.faults({"action": {"type": "delay", "seconds": 1}, "match": GROUP_RECALL})
    job = Recall(parse_receipts(receipts))
    with (
        raising_on_alarm(interruption),
        alarm_at_call(sandbox, GROUP_RECALL, 1),
        pytest.raises(interruption),
    ):
        hook.run(job.run, job.stop)
    counts = job.report().counts()
    assert counts == {"recalled": 20, "failed": 180, "expired": 0, "unknown": 0, "total": 200}
    assert {settled.reason.code for settled in job.report().settled.values() if settled.reason} == {"not_attempted"}
    assert sum(is_recalled(sandbox, receipt) for receipt in receipts) == 20
    assert_silent(sandbox, hook)
    assert calls(sandbox)[GROUP_RECALL] == 1


def test_a_call_that_hangs_is_cut_off_and_its_messages_are_unknown(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    receipts = planted(sandbox, "group", 60)
    sandbox.faults({"action": {"type": "delay", "seconds": LONG}, "match": GROUP_RECALL, "nth": [2]})
    job = Recall(parse_receipts(receipts), workers=1)
    with (
        raising_on_alarm(KeyboardInterrupt),
        alarm_at_call(sandbox, GROUP_RECALL, 2),
        pytest.raises(KeyboardInterrupt),
    ):
        hook.run(job.run, job.stop)
    assert job.report().counts() == {"recalled": 20, "failed": 20, "expired": 0, "unknown": 20, "total": 60}
    assert_silent(sandbox, hook)
    assert calls(sandbox)[GROUP_RECALL] == 2


def assert_silent(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    """Check that interrupted work sends nothing more; the next request belongs to another call."""
    sandbox.faults()
    before = sandbox.state.journal.seq
    hook.recall(planted(sandbox, "oto"))
    assert sandbox.state.journal.seq == before + 1
    assert calls(sandbox)["robot/otoMessages/batchRecall"] == 1


def test_the_loop_works_on_after_an_interruption(sandbox: SandboxServer, hook: DingTalkHook) -> None:
    async def forever(_: Any) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        await anyio.sleep_forever()

    for _ in range(2):
        # Without ``stop`` the work is cancelled at once.
        with raising_on_alarm(OwnInterruption), pytest.raises(OwnInterruption):
            hook.run(forever)
    assert hook.recall(planted(sandbox, "oto"))["counts"]["recalled"] == 1
