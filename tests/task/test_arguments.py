"""Any input from outside raises only our errors, which name the invalid field."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from enum import Enum, StrEnum
from typing import Any

import pytest
from airflow.sdk import Connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_dingtalk.client.protocol import request_for
from airflow_provider_dingtalk.client.proxy import parse_proxy
from airflow_provider_dingtalk.connection.settings import EXTRAS
from airflow_provider_dingtalk.exceptions import ConfigurationError, DingTalkError, InvalidInputError
from airflow_provider_dingtalk.messages.message_types import send_requests_for
from airflow_provider_dingtalk.messages.receipt import Kind, parse_keys
from airflow_provider_dingtalk.messages.receipt_parser import parse_receipts
from airflow_provider_dingtalk.task.arguments import (
    check_choices,
    parse_flag,
    parse_moment,
    parse_one_id,
    parse_task_ids,
)
from airflow_provider_dingtalk.task.rollback_filters import rollback_filters_of
from tests.support.arrays import Array
from tests.support.sends import PLAIN
from tests.support.settings import settings_of

#: More digits than Python prints.
HUGE = 10**5000


class Word(StrEnum):
    HELLO = "hello"
    KEY = "key1"


class OldWord(str, Enum):  # noqa: UP042 -- its str() is another one's than StrEnum's
    HELLO = "hello"


class Text(str):  # noqa: SLOT000
    """Subclass of ``str``, as in libraries (lazy translations, Markup)."""


ODDITIES: tuple[Any, ...] = (
    Array(),
    HUGE,
    -HUGE,
    2**63,
    math.nan,
    math.inf,
    "\ud800",
    "a\0b",
    "::1%ä",
    Word.HELLO,
    OldWord.HELLO,
    Text("key1"),
    "[" * 3000,
    '{"a":' * 3000,
    "9" * 5000,
    '"\\ud800"',
    b"\xff",
    object(),
    Ellipsis,
    "None",
    "[]",
)
# By number: hypothesis itself cannot print them.
ODD = st.integers(0, len(ODDITIES) - 1).map(lambda number: ODDITIES[number])
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=5),
    ODD,
    st.sampled_from(["key1", "cid1", "robot", "user1", "42", 42, "True", "text", "2026-11-28T00:00:00Z"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner),
        st.dictionaries(
            st.one_of(st.text(max_size=8), st.sampled_from(["kind", "content", "msgtype"])), inner, max_size=4
        ),
    ),
    max_leaves=8,
)
NAMES = {
    "open_conversation_id",
    "user_ids",
    "robot_code",
    "cool_app_code",
    "agent_id",
    "dept_ids",
    "to_all_user",
    "text",
    "title",
    "markdown",
    "msg_key",
    "msg_param",
    "msg",
    "content",
    "remind_type",
    "call_voice",
    "one_receipt_per_user",
}
FUZZ = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


def only_ours(work: Callable[[], Any]) -> None:
    """Run a function; an error must be one of ours, and printable."""
    try:
        work()
    except DingTalkError as error:
        str(error)


@FUZZ
@given(
    kind=st.one_of(st.sampled_from(list(Kind)), VALUES),
    arguments=st.dictionaries(st.sampled_from(sorted(NAMES)), VALUES),
)
def test_any_arguments_of_a_send(kind: Any, arguments: dict[str, Any]) -> None:
    def send() -> None:
        for send_request in send_requests_for(kind, **arguments):
            request_for(send_request.call, "https://api.dingtalk.io", "token")

    only_ours(send)


#: Arguments that make a message; one of them at a time is then something else.
GOOD: dict[Kind, dict[str, Any]] = {
    **PLAIN,
    Kind.OTO: {"user_ids": ["user1"], "robot_code": "robot", "msg_key": "sampleText", "msg_param": {"content": "x"}},
    Kind.WORK_NOTIFICATION: {"agent_id": 1, "user_ids": "user1", "msg": {"msgtype": "text", "text": {"content": "x"}}},
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in Kind for name in sorted(GOOD[kind])])
def test_an_array_is_no_argument_of_a_send(kind: Kind, name: str) -> None:
    with pytest.raises(InvalidInputError):
        send_requests_for(kind, **{**GOOD[kind], name: Array()})


@FUZZ
@given(kind=st.sampled_from(list(Kind)), data=st.data(), value=VALUES)
def test_one_argument_of_a_send(kind: Kind, data: st.DataObject, value: Any) -> None:
    name = data.draw(st.sampled_from(sorted(GOOD[kind])))
    test_any_arguments_of_a_send.hypothesis.inner_test(kind, {**GOOD[kind], name: value})


@FUZZ
@given(value=VALUES)
def test_anything_for_receipts_and_keys(value: Any) -> None:
    only_ours(lambda: parse_receipts(value))
    only_ours(lambda: parse_receipts([{"kind": "group", "version": 1, "process_query_key": value, "sent_at": value}]))
    only_ours(lambda: parse_keys(value, "keys"))


@FUZZ
@given(value=VALUES, other=VALUES)
def test_anything_for_a_rollback(value: Any, other: Any) -> None:
    only_ours(lambda: parse_flag(value, "dry_run"))
    only_ours(lambda: parse_moment(value, "since"))
    only_ours(lambda: parse_one_id(value, "from_dag"))
    only_ours(lambda: parse_task_ids(value, "from_tasks"))
    only_ours(lambda: check_choices(value, other))
    only_ours(lambda: check_choices("skip", value))
    for name in ("max_messages", "max_readers", "older_than", "newer_than"):
        only_ours(lambda name=name: rollback_filters_of(**{name: value}))


@FUZZ
@given(
    fields=st.fixed_dictionaries(
        {"login": st.sampled_from(["ding", "", None])},
        optional={
            "host": st.one_of(
                st.text(max_size=30), st.sampled_from(["::1%ä", "http://[::1%25x]:1", "https://a..b", "\ud800"])
            ),
            "schema": st.sampled_from(["http", "https", "\0"]),
            "port": st.one_of(st.integers(-1, 70_000), st.booleans().map(lambda _: HUGE)),
        },
    ),
    extra=st.one_of(
        VALUES,
        st.dictionaries(st.sampled_from(EXTRAS), VALUES, max_size=3),
        st.dictionaries(st.sampled_from(EXTRAS), st.one_of(st.text(), st.integers(), st.floats())).map(json.dumps),
    ),
)
def test_any_connection(fields: dict[str, Any], extra: Any) -> None:
    connection = Connection(conn_id="c", conn_type="dingtalk", password="s3cret", **fields)
    connection.extra = extra
    only_ours(lambda: settings_of(connection))


@FUZZ
@given(text=st.one_of(st.text(), st.from_regex(r"(http://)?[a-z:@%\[\]0-9.]{0,20}", fullmatch=True)))
def test_any_proxy(text: str) -> None:
    only_ours(lambda: parse_proxy(text, "extra proxy"))


# ── those that were found ────────────────────────────────────────────────────────────────────────────


def refusal(work: Callable[[], Any]) -> str:
    with pytest.raises((InvalidInputError, ConfigurationError)) as caught:
        work()
    return str(caught.value)


@pytest.mark.parametrize("field", ["since", "from_dag", "max_messages", "older_than"])
def test_an_array_is_refused_by_the_name_of_the_field(field: str) -> None:
    parse: dict[str, Callable[[], Any]] = {
        "since": lambda: parse_moment(Array(), field),
        "from_dag": lambda: parse_one_id(Array(), field),
    }
    with pytest.raises(InvalidInputError, match=f"^{field}: "):
        parse.get(field, lambda: rollback_filters_of(**{field: Array()}))()


def test_an_extra_of_a_subclass_of_str_is_read() -> None:
    connection = Connection(conn_id="c", conn_type="dingtalk", login="d", password="s3cret")
    connection.extra = Text('{"robot_code": "r"}')
    assert settings_of(connection).robot_code == "r"


@pytest.mark.parametrize("extra", [Array(), object(), 0, []])
def test_an_extra_that_is_no_text_is_refused(extra: Any) -> None:
    connection = Connection(conn_id="c", conn_type="dingtalk", login="d", password="s3cret")
    connection.extra = extra
    assert refusal(lambda: settings_of(connection)).startswith("Invalid extra: ")


@pytest.mark.parametrize("host", ["::1%ä", "::1%eth0", "http://[::1%25lo]:8848"])
def test_a_zone_makes_no_loopback(host: str) -> None:
    connection = Connection(conn_id="c", conn_type="dingtalk", login="d", password="s3cret", host=host)
    assert refusal(lambda: settings_of(connection)).startswith("host: ")


@pytest.mark.parametrize(
    ("work", "field"),
    [
        (lambda: parse_flag(HUGE, "dry_run"), "dry_run"),
        (lambda: send_requests_for(HUGE), "kind"),  # type: ignore[arg-type]
        (lambda: send_requests_for("oto", user_ids=HUGE, robot_code="r", text="x"), "user_ids"),
        (
            lambda: send_requests_for("ding", user_ids="u", robot_code="r", text="x", remind_type=HUGE),
            "remind_type",
        ),
        (lambda: check_choices(HUGE, []), "on_empty"),
        (lambda: check_choices("skip", [HUGE]), "fail_on"),
        (lambda: send_requests_for("group", **{**GOOD[Kind.GROUP], "text": "\ud800"}), "text"),
        (lambda: send_requests_for("ding", **{**GOOD[Kind.DING], "text": "\ud800"}), "text"),
        (lambda: send_requests_for("oto", **{**GOOD[Kind.OTO], "msg_param": "\ud800"}), "msg_param"),
        (lambda: send_requests_for("oto", **{**GOOD[Kind.OTO], "msg_param": {"content": math.nan}}), "msg_param"),
        (lambda: send_requests_for("oto", **{**GOOD[Kind.OTO], "msg_param": {"content": [b"x"]}}), "msg_param"),
        (
            lambda: send_requests_for("oto", **{**GOOD[Kind.OTO], "msg_param": {"content": "x", "y": HUGE}}),
            "msg_param",
        ),
    ],
)
def test_what_json_has_no_form_for_is_refused_by_its_field(work: Callable[[], Any], field: str) -> None:
    assert refusal(work).startswith(f"{field}: ")


@pytest.mark.parametrize("word", [Word.HELLO, OldWord.HELLO, Text("hello")])
@pytest.mark.parametrize("kind", list(Kind))
def test_texts_of_a_subclass_are_texts(kind: Kind, word: str) -> None:
    """Enumerations, Markup and lazy translations: natural in DAG files."""
    bodies = []
    for value in (word, "hello"):
        given = GOOD[kind] if kind is Kind.OTO else PLAIN[kind]
        arguments = {name: _texts_replaced(argument, value) for name, argument in given.items()}
        (send_request,) = send_requests_for(kind, **arguments)
        bodies.append(request_for(send_request.call, "https://api.dingtalk.io", "token").content)
    assert bodies[0] == bodies[1]


def _texts_replaced(argument: Any, value: str) -> Any:
    if isinstance(argument, dict):
        return dict.fromkeys(argument, value)
    return argument if isinstance(argument, int) else [value] if isinstance(argument, list) else value
