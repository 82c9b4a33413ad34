"""Every code in the error tables of DingTalk's five pages comes out of the sandbox, over HTTP.

Codes with a cause in the sandbox's state come by that cause; the rest by a fault. No code is left over.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tests.sandbox.sandbox_dialogue import HOUR, Dialogue
from tests.sandbox.seed_pages import error_table, pages

Cause = Callable[[Dialogue], httpx.Response]

PAGES = {"000": "group", "001": "oto", "002": "private_chat", "003": "private_chat", "004": "work_notification"}
MANY = [f"key{n}" for n in range(21)]


def _robot(talk: Dialogue, **order: object) -> None:
    talk.control("POST", "robots", {"robot_code": "dingsandbox", **order})


def _chat(talk: Dialogue, chat: str, **order: object) -> None:
    talk.control("POST", "conversations", {"open_conversation_id": chat, **order})


def _foreign(talk: Dialogue, kind: str) -> httpx.Response:
    keys = talk.create_messages(kind, robot_code="dingother")
    return talk.recall(kind, keys)


def _absent_robot(talk: Dialogue, kind: str) -> httpx.Response:
    keys = talk.create_messages(kind)
    _chat(talk, {"group": "cidgroup1", "private_chat": "cidprivate1"}[kind], robots=["dingother"])
    return talk.recall(kind, keys)


def _stopped(talk: Dialogue, kind: str) -> httpx.Response:
    keys = talk.create_messages(kind)
    _chat(talk, {"group": "cidgroup1", "private_chat": "cidprivate1"}[kind], stopped=True)
    return talk.recall(kind, keys)


def _template(talk: Dialogue, kind: str, template: str) -> httpx.Response:
    keys = talk.create_messages(kind)
    _robot(talk, template=template)
    return talk.recall(kind, keys)


def _twice(talk: Dialogue) -> httpx.Response:
    talk.behave(already_recalled="not_revoke_all")
    keys = talk.create_messages("oto", 2)
    talk.recall("oto", keys[:1])
    return talk.recall("oto", keys)


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


def _ask(talk: Dialogue, **changes: object) -> httpx.Response:
    return talk.query("private_chat", talk.create_messages("private_chat")[0], **changes)


def _query_absent_robot(talk: Dialogue) -> httpx.Response:
    key = talk.create_messages("private_chat")[0]
    _chat(talk, "cidprivate1", robots=["dingother"])
    return talk.query("private_chat", key)


def _query_changed(talk: Dialogue, **chat: object) -> httpx.Response:
    key = talk.create_messages("private_chat")[0]
    _chat(talk, "cidprivate1", **chat)
    return talk.query("private_chat", key)


def _query_template(talk: Dialogue, template: str) -> httpx.Response:
    key = talk.create_messages("private_chat")[0]
    _robot(talk, template=template)
    return talk.query("private_chat", key)


def _query_too_early(talk: Dialogue) -> httpx.Response:
    talk.behave(status_delay_seconds=5)
    return _ask(talk)


def _lacking(talk: Dialogue, name: str) -> httpx.Response:
    talk.behave(query_scope="required")
    return _ask(talk, **{name: None})


def _switched(talk: Dialogue, ask: Cause, **switches: object) -> httpx.Response:
    talk.behave(**switches)
    return ask(talk)


def _work_recall(talk: Dialogue) -> httpx.Response:
    params = {"access_token": talk.token}
    form = {"agent_id": 1000, "msg_task_id": 1}
    return talk.http.post("/topapi/message/corpconversation/recall", params=params, data=form)


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
def test_code_comes_out(talk: Dialogue, page: str, code: str, status: int) -> None:
    natural = CAUSES[page].get(code)
    answer = natural(talk) if natural else _inject(talk, page, code, status)
    body = answer.json()
    assert answer.status_code == status
    assert str(body["errcode"] if page == "004" else body["code"]) == code


def _inject(talk: Dialogue, page: str, code: str, status: int) -> httpx.Response:
    if page == "004":
        talk.faults({"match": "corpconversation/recall", "action": {"type": "status", "errcode": int(code)}})
        return _work_recall(talk)
    talk.faults({"action": {"type": "status", "status": status, "code": code}})
    if page == "003":
        return _ask(talk)
    return talk.recall(PAGES[page], ["any"])
