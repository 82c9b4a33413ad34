"""The hook against a running sandbox: sync and async, in threads and forks, interrupted, refused, self-tested."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest

from airflow_provider_dingtalk.client.endpoints import QueryGroupMessage, SendWorkNotification, fields_of
from airflow_provider_dingtalk.exceptions import (
    BannedError,
    ConfigurationError,
    IncompleteSendError,
    InvalidInputError,
    InvalidKeyError,
    UnexpectedHtmlError,
)
from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.sandbox.default import GROUPS, ROBOT_CODE
from airflow_provider_dingtalk.sandbox.testing import SandboxServer
from tests.support.airflow_seams import TOKEN_API, calls, connection, is_recalled, key_of, planted
from tests.support.connections import Connect

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


def test_a_ban_of_one_connection_does_not_hide_the_messages_of_another(
    sandbox: SandboxServer, hook: DingTalkHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DINGTALK_OTHER", connection(sandbox))
    sandbox.faults({"match": "oToMessages/readStatus", "action": {"type": "html", "status": 403}})
    (ours,), theirs = planted(sandbox, "group"), planted(sandbox, "oto", 2)
    theirs = [{**receipt, "conn_id": "dingtalk_other"} for receipt in theirs]
    found = [hook.status([*theirs, ours]), asyncio.run(DingTalkHook().astatus([*theirs, ours]))]
    assert [[one.send_status for one in each] for each in found] == [[None, None, "SUCCESS"]] * 2
    assert all(one.error and one.error.next_step for each in found for one in each[:2])
    for poll in (hook.status, lambda receipts: asyncio.run(DingTalkHook().astatus(receipts))):
        with pytest.raises((UnexpectedHtmlError, BannedError)):
            poll(theirs)


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
    assert len(found) == 2 and all(state["permits"] for state in found)


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
    ("of_hook", "of_call", "expected"), [(None, None, 1000001), (5, None, 5), ("5", None, 5), (5, 7, 7)]
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
