"""Every code in the error tables of DingTalk's five pages comes out of the sandbox, over HTTP.

Codes with a cause in the sandbox's state come by that cause; the rest by a fault. No code is left over.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tests.sandbox.raw_client import HOUR, RawClient
from tests.sandbox.seed_pages import error_table, pages

Cause = Callable[[RawClient], httpx.Response]

PAGES = {"000": "group", "001": "oto", "002": "private_chat", "003": "private_chat", "004": "work_notification"}
MANY = [f"key{n}" for n in range(21)]


def _robot(client: RawClient, **changes: object) -> None:
    client.control("POST", "robots", {"robot_code": "dingsandbox", **changes})


def _chat(client: RawClient, chat: str, **changes: object) -> None:
    client.control("POST", "conversations", {"open_conversation_id": chat, **changes})


def _foreign(client: RawClient, kind: str) -> httpx.Response:
    keys = client.create_messages(kind, robot_code="dingother")
    return client.recall(kind, keys)


def _absent_robot(client: RawClient, kind: str) -> httpx.Response:
    keys = client.create_messages(kind)
    _chat(client, {"group": "cidgroup1", "private_chat": "cidprivate1"}[kind], robots=["dingother"])
    return client.recall(kind, keys)


def _stopped(client: RawClient, kind: str) -> httpx.Response:
    keys = client.create_messages(kind)
    _chat(client, {"group": "cidgroup1", "private_chat": "cidprivate1"}[kind], stopped=True)
    return client.recall(kind, keys)


def _template(client: RawClient, kind: str, template: str) -> httpx.Response:
    keys = client.create_messages(kind)
    _robot(client, template=template)
    return client.recall(kind, keys)


def _twice(client: RawClient) -> httpx.Response:
    client.behave(already_recalled="not_revoke_all")
    keys = client.create_messages("oto", 2)
    client.recall("oto", keys[:1])
    return client.recall("oto", keys)


def _recall_causes(kind: str) -> dict[str, Cause]:
    """The causes that the recalls in groups and in private chats share."""
    return {
        "invalid.openConversationId": lambda t: t.recall(
            kind, t.create_messages(kind), openConversationId="cidnowhere"
        ),
        "invalidParameter.robotCode": lambda t: t.recall(kind, t.create_messages(kind), robotCode="dingnobody"),
        "invalidParameter.processQueryKeys.overMax": lambda t: t.recall(kind, MANY),
        "not.allowed.robotCode": lambda t: _foreign(t, kind),
        "invalidParameter.param.invalid": lambda t: t.recall(kind, ["k"], colour="blue"),
        "invalidParameter.robotCode.notExsit": lambda t: _absent_robot(t, kind),
        "miss.chatbotId": lambda t: t.recall(kind, t.create_messages(kind), robotCode=None),
        "invalidParameter.processQueryKey.missing": lambda t: t.recall(kind, []),
        "invalid.processQueryKey": lambda t: t.recall(kind, ["nothing"]),
        "miss.openConversationId": lambda t: t.recall(kind, t.create_messages(kind), openConversationId=None),
        "bot.stopped": lambda t: _stopped(t, kind),
        "template.not.existed": lambda t: _template(t, kind, "missing"),
        "template.stopped": lambda t: _template(t, kind, "stopped"),
    }


def _ask(client: RawClient, **changes: object) -> httpx.Response:
    return client.query("private_chat", client.create_messages("private_chat")[0], **changes)


def _query_absent_robot(client: RawClient) -> httpx.Response:
    key = client.create_messages("private_chat")[0]
    _chat(client, "cidprivate1", robots=["dingother"])
    return client.query("private_chat", key)


def _query_changed(client: RawClient, **chat: object) -> httpx.Response:
    key = client.create_messages("private_chat")[0]
    _chat(client, "cidprivate1", **chat)
    return client.query("private_chat", key)


def _query_template(client: RawClient, template: str) -> httpx.Response:
    key = client.create_messages("private_chat")[0]
    _robot(client, template=template)
    return client.query("private_chat", key)


def _query_too_early(client: RawClient) -> httpx.Response:
    client.behave(status_delay_seconds=5)
    return _ask(client)


def _lacking(client: RawClient, name: str) -> httpx.Response:
    client.behave(query_scope="required")
    return _ask(client, **{name: None})


def _switched(client: RawClient, ask: Cause, **switches: object) -> httpx.Response:
    client.behave(**switches)
    return ask(client)


def _work_recall(client: RawClient) -> httpx.Response:
    params = {"access_token": client.token}
    form = {"agent_id": 1000001, "msg_task_id": 1}
    return client.http.post("/topapi/message/corpconversation/recall", params=params, data=form)


CAUSES: dict[str, dict[str, Cause]] = {
    "000": _recall_causes("group"),
    "001": {
        "invalidParameter.robotCode": lambda t: t.recall("oto", t.create_messages("oto"), robotCode="dingnobody"),
        "invalidParameter.processQueryKeys.overMax": lambda t: t.recall("oto", MANY),
        "not.allowed.robotCode": lambda t: _foreign(t, "oto"),
        "invalidParameter.param.invalid": lambda t: t.recall("oto", t.create_messages("oto"), robotCode=None),
        "invalidParameter.processQueryKey.missing": lambda t: t.recall("oto", None),
        "invalid.processQueryKey": lambda t: t.recall("oto", ["nothing"]),
        "robot.processQueryKey.expired": lambda t: t.recall("oto", t.create_messages("oto", age_seconds=25 * HOUR)),
        "notRevoke.all.messages": _twice,
    },
    "002": {
        **_recall_causes("private_chat"),
        "unauthorized": lambda t: _switched(
            t,
            lambda t: t.recall("private_chat", t.create_messages("private_chat"), robotCode="dingother"),
            foreign_robot_code="unauthorized",
        ),
        "resource.not.found": lambda t: _switched(
            t,
            lambda t: t.recall("private_chat", t.create_messages("private_chat"), robotCode="dingnobody"),
            unknown_robot_code="resource.not.found",
        ),
    },
    "003": {
        "invalidParameter.param.invalid": lambda t: _ask(t, colour="blue"),
        "invalidParameter.robotCode.notExsit": _query_absent_robot,
        "invalidParameter.robotCode.missing": lambda t: _lacking(t, "robotCode"),
        "invalidParameter.processQueryKey.missing": lambda t: t.query("private_chat", None),
        "invalidParameter.cursor.invalid": lambda t: _ask(t, nextToken="50"),
        "invalidParameter.pageSize.invalid": lambda t: _ask(t, maxResults=201),
        "invalidParameter.robotCode.invalid": lambda t: _ask(t, robotCode="dingother"),
        "invalid.openConversationId": lambda t: _ask(t, openConversationId="cidnowhere"),
        "openConversationId.notExisted": lambda t: _lacking(t, "openConversationId"),
        "invalid.processQueryKey": lambda t: t.query("private_chat", "nothing"),
        "bot.stopped": lambda t: _query_changed(t, stopped=True),
        "template.not.existed": lambda t: _query_template(t, "missing"),
        "template.stopped": lambda t: _query_template(t, "stopped"),
        "processQueryKey.expireTime": _query_too_early,
        "unauthorized": lambda t: _switched(
            t, lambda t: _ask(t, robotCode="dingother"), foreign_robot_code="unauthorized"
        ),
        "resource.not.found": lambda t: _switched(
            t, lambda t: _ask(t, robotCode="dingnobody"), unknown_robot_query_code="resource.not.found"
        ),
        "auth.error": lambda t: _switched(
            t, lambda t: _query_changed(t, corp_id="dingelsewhere"), foreign_conversation_code="auth.error"
        ),
        "conversation.org.dismatch": lambda t: _query_changed(t, corp_id="dingelsewhere"),
    },
    "004": {"400002": _work_recall},
}

#: Codes without a cause in the sandbox's state.
INJECTED: dict[str, set[str]] = {
    "000": {"system.error"},
    "001": {"system.error"},
    "002": {"system.error"},
    "003": {"system.error"},
    "004": {"500"},
}

TABLES = {number: error_table(text) for number, text in pages().items()}
ROWS = [(page, code, status) for page, table in TABLES.items() for code, status in table.items()]


def test_all_tables_were_read() -> None:
    assert {page: len(table) for page, table in TABLES.items()} == {
        "000": 14,
        "001": 9,
        "002": 16,
        "003": 19,
        "004": 2,
    }


@pytest.mark.parametrize("page", sorted(PAGES))
def test_no_code_is_left_over(page: str) -> None:
    assert set(CAUSES[page]).isdisjoint(INJECTED[page])
    assert set(CAUSES[page]) | INJECTED[page] == set(TABLES[page])


@pytest.mark.parametrize(("page", "code", "status"), ROWS)
def test_code_comes_out(client: RawClient, page: str, code: str, status: int) -> None:
    natural = CAUSES[page].get(code)
    answer = natural(client) if natural else _inject(client, page, code, status)
    body = answer.json()
    assert answer.status_code == status
    assert str(body["errcode"] if page == "004" else body["code"]) == code


def _inject(client: RawClient, page: str, code: str, status: int) -> httpx.Response:
    if page == "004":
        client.faults({"match": "corpconversation/recall", "action": {"type": "status", "errcode": int(code)}})
        return _work_recall(client)
    client.faults({"action": {"type": "status", "status": status, "code": code}})
    if page == "003":
        return _ask(client)
    return client.recall(PAGES[page], ["any"])
