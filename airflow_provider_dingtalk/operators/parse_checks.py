"""Checks of a task's arguments when its DAG file is parsed, by the rules of the run.

The dag-processor makes all tasks of a file again and again. So the rules are imported only for a value that looks
wrong, and raise their error. Templates and XComs are checked when the task runs.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

#: Arguments that hold a message's content; exactly one is given.
CONTENTS = ("text", "markdown", "msg_key", "msg", "content")
REMIND_TYPES = ("app", "sms", "phone")
SEND_CHOICES: dict[str, Sequence[Any]] = {
    "on_unknown_send": ("fail", "skip", "resend"),
    "on_cleared_send": ("fail", "resend", "keep"),
    **dict.fromkeys(("fail_on_dropped", "fail_on_unreached", "fail_on_refused", "allow_resend"), (True, False)),
}
ON_EMPTY = ("succeed", "skip", "fail")
OUTCOMES = frozenset({"failed", "expired", "unknown"})
#: Content that belongs to another argument.
_OWNERS = {"title": "markdown", "msg_param": "msg_key"}
_RECEIVERS = ("open_conversation_id", "user_ids", "dept_ids", "to_all_user")
#: Boolean arguments. A template renders them as text, and the text "False" is true to Python.
FLAGS = ("to_all_user", "one_receipt_per_user")
#: Arguments that the connection may have.
_SENDERS = ("robot_code", "agent_id")
#: Arguments that hold one id.
_SINGLE = (*_SENDERS, "cool_app_code", "call_voice")
#: Values in place of templates, which never make an argument wrong.
_PLACEHOLDERS: dict[str, Any] = {
    **dict.fromkeys(("open_conversation_id", "cool_app_code", "robot_code", "user_ids"), "placeholder"),
    "agent_id": 1,
    "dept_ids": 1,
    "to_all_user": True,
}
_PLAIN_TYPES = (bool, int, float, type(None), dt.date, dt.timedelta)
#: Ids, and ids that are numbers, that need no closer look.
_ID, _NUMBER = re.compile(r"[\w+/=.:@$-]{1,200}"), re.compile(r"\d{1,18}", re.ASCII)
_NUMERIC = ("dept_ids", "agent_id")
#: Characters of a text, and of that of a work notification, that are surely within DingTalk's limits.
_MAX_TEXT, _MAX_NOTIFICATION = 2400, 300
#: Conditions of a sensor; the first three are not templated.
_CONDITIONS = ("send_statuses", "match", "fail_on_unreached", "min_readers", "min_read_share", "audience", "read_by")


def known(task: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return the values of these arguments that no template or XCom decides."""
    marks = ("{{", "{%") if not task.dag.jinja_environment_kwargs else ("",)
    return known_of({name: getattr(task, name, None) for name in names}, marks)


def known_of(values: Mapping[str, Any], marks: tuple[str, ...] = ("{{", "{%")) -> dict[str, Any]:
    """Return the values that no template or XCom decides; ``marks`` begin a template."""
    return {name: value for name, value in values.items() if _is_known(value, marks)}


def _is_known(value: Any, marks: tuple[str, ...]) -> bool:
    if isinstance(value, str):
        return not any(mark in value for mark in marks)
    if isinstance(value, Mapping):
        return _is_known([*value, *value.values()], marks)
    if isinstance(value, list | tuple | set | frozenset):
        return all(_is_known(item, marks) for item in value)
    # A task is a mistake where its id or its output is meant.
    return isinstance(value, _PLAIN_TYPES) or hasattr(value, "task_id")


def check_conn_id(value: Any) -> None:
    """Check the id of a connection, which is not templated.

    :raises InvalidInputError: If it is not a text, is blank, or is a template.
    """
    if not isinstance(value, str) or not value.strip() or "{{" in value:
        from airflow_provider_dingtalk.exceptions import shown

        raise _invalid("dingtalk_conn_id", f"is {shown(value)}; use the id of a connection, without a template")


# ── sends ────────────────────────────────────────────────────────────────────────────────────────────


def check_send_request(kind: str, names: Collection[str], given: Mapping[str, Any]) -> None:
    """Check receivers and content of a send.

    :param names: Names of all its arguments.
    :param given: Arguments that are known.
    :raises InvalidInputError: If one is missing or invalid, or they contradict each other.
    """
    contents = [name for name in (*CONTENTS, *_OWNERS) if name in names]
    strays = {name: given[name] for name, owner in _OWNERS.items() if given.get(name) and given.get(owner, "?") is None}
    is_content_known = given.keys() >= set(contents)
    is_content_right = _is_content_right(given) if is_content_known else not strays
    if is_content_right and _are_ids_right(kind, given, names):
        return
    from airflow_provider_dingtalk.messages.message_types import send_requests_for

    content = {name: given[name] for name in contents} if is_content_known else {"text": "placeholder", **strays}
    arguments: dict[str, Any] = {**_addresses([name for name in names if name not in contents], given), **content}
    send_requests_for(kind, **{name: value for name, value in arguments.items() if value is not None})


def _addresses(names: Collection[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a send besides its content, with placeholders where templates decide."""
    from airflow_provider_dingtalk.task.arguments import parse_flag

    found = {name: given[name] for name in names if given.get(name) is not None}
    found |= {name: parse_flag(found[name], name) for name in FLAGS if name in found}
    unknown = [name for name in names if name not in given]
    absent = [name for name in names if name in _SENDERS and name not in found]
    if not any(found.get(name) for name in _RECEIVERS):
        absent += [name for name in _RECEIVERS if name in unknown][:1]
    return found | {name: _PLACEHOLDERS[name] for name in (*absent, *({"cool_app_code"} & {*unknown}))}


def _is_content_right(given: Mapping[str, Any]) -> bool:
    found = [name for name in CONTENTS if given.get(name) is not None]
    # Templates of robots and of work notifications have parameters that only the rules know.
    if len(found) != 1 or found[0] in ("msg_key", "msg") or given.get("msg_param") is not None:
        return False
    content, title, most = given[found[0]], given.get("title"), _MAX_NOTIFICATION if "msg" in given else _MAX_TEXT
    if not isinstance(content, str) or not content.strip() or len(content) > most:
        return False
    return title is None or (found[0] == "markdown" and isinstance(title, str) and len(title) <= _MAX_NOTIFICATION)


def _are_ids_right(kind: str, given: Mapping[str, Any], names: Collection[str]) -> bool:
    receivers = [name for name in _RECEIVERS if name in names and given.get(name, "?") not in (None, False)]
    ids = {name: given[name] for name in (*_RECEIVERS[:3], *_SINGLE) if given.get(name) is not None}
    return (
        len(receivers) == 1
        and all(isinstance(given.get(name) or False, bool) for name in FLAGS)
        and given.get("remind_type") in (None, *REMIND_TYPES)
        and not (kind == "private_chat" and given.get("cool_app_code", "?") is None)
        and all(_are_ids(name, value) for name, value in ids.items())
    )


def _are_ids(name: str, value: Any) -> bool:
    """Return True for an id or a list of ids that needs no closer look."""
    items = [value] if name in _SINGLE or isinstance(value, str | int) else _items(value)
    types, form = ((int, str), _NUMBER) if name in _NUMERIC else ((str,), _ID)
    return bool(items) and all(type(item) in types and form.fullmatch(str(item)) for item in items)


# ── recalls and rollbacks ────────────────────────────────────────────────────────────────────────────


def check_outcomes(on_empty: Any, fail_on: Any) -> None:
    """Check ``on_empty`` and ``fail_on``.

    :raises InvalidInputError: If one is not among the choices.
    """
    chosen = [fail_on] if isinstance(fail_on, str) else fail_on
    are_right = isinstance(on_empty, str) and isinstance(chosen, list | tuple | set | frozenset)
    if are_right and on_empty in ON_EMPTY and all(isinstance(one, str) and one in OUTCOMES for one in chosen):
        return
    from airflow_provider_dingtalk.task.arguments import check_choices

    check_choices(on_empty, fail_on)


def check_is_named(given: Mapping[str, Any], keys_argument: str) -> None:
    """Check that keys or receipts name the messages.

    :raises InvalidInputError: If neither is given.
    """
    if given.get(keys_argument, "a template") is None and given.get("receipts", "a template") is None:
        raise _invalid(keys_argument, "is missing; give it, or receipts")


def check_keys(kind: str, given: Mapping[str, Any], keys_argument: str) -> None:
    """Check keys, receipts and sender of messages to recall.

    :raises InvalidInputError: If no message is named, or a value is invalid or belongs to the other argument.
    """
    check_is_named(given, keys_argument)
    if given.get("receipts") is None and given.get(keys_argument) is None:
        return
    from airflow_provider_dingtalk.messages.message_types import message_type
    from airflow_provider_dingtalk.task import arguments

    of_kind = message_type(kind).kind
    arguments.only_of_kind(arguments.parse_receipts(given.get("receipts")), of_kind)
    arguments.receipts_of_keys(of_kind, given.get(keys_argument), keys_argument, _sender(given))


def _sender(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return sender and conversation of messages, with placeholders where a template or the connection decides."""
    found = {name: given.get(name) for name in _SENDERS}
    sender = {name: _PLACEHOLDERS[name] if value is None else value for name, value in found.items()}
    return sender | {"open_conversation_id": given.get("open_conversation_id", "placeholder")}


def _items(value: Any) -> Sequence[Any]:
    return [*value] if isinstance(value, list | tuple | set | frozenset) else [] if value is None else [value]


def is_empty(value: Any) -> bool:
    """Return True for None, and for a text or a collection without items."""
    # An array has no truth value, but a length.
    return value is None or (hasattr(value, "__len__") and not len(value))


def check_ids(given: Mapping[str, Any], *names: str) -> None:
    """Check arguments that hold an id of Airflow, or a list of such ids.

    :raises InvalidInputError: If one holds something else.
    """
    for name in names:
        value = given.get(name)
        if not is_empty(value) and not _are_ids(name, value):
            from airflow_provider_dingtalk.task.arguments import parse_task_ids

            parse_task_ids(value, name)


def check_source(given: Mapping[str, Any]) -> None:
    """Check the arguments that select a rollback's messages.

    :raises InvalidInputError: If no messages are selected, a window has no start, or a value is invalid.
    """
    absent = {name for name in ("receipts", "from_tasks", "from_run", "since") if given.get(name, "?") is None}
    if "since" in absent and given.get("until"):
        raise _invalid("since", "is missing; until ends the window that it starts")
    if absent >= {"since", "from_run"} and given.get("from_dag"):
        raise _invalid("since", "is missing; give it, or from_run")
    if len(absent) == 4:
        raise _invalid("from_tasks", "is missing; give it, or from_run, since or receipts")
    if given.get("receipts") is not None:
        from airflow_provider_dingtalk.task.arguments import parse_receipts

        parse_receipts(given["receipts"])
    for name in ("since", "until"):
        if not _is_moment(moment := given.get(name)):
            from airflow_provider_dingtalk.task.arguments import parse_moment

            parse_moment(moment, name)


def _is_moment(value: Any) -> bool:
    try:
        return value is None or isinstance(value, dt.date) or bool(dt.datetime.fromisoformat(value))
    except (TypeError, ValueError):
        return False


def check_filters(given: Mapping[str, Any]) -> None:
    """Check the filters of a rollback.

    :raises InvalidInputError: If a value is invalid, or two contradict each other.
    """
    flags = {name: given[name] for name in ("dry_run", "only_unread", "with_readers") if name in given}
    limits = {name: given.get(name) for name in ("max_messages", "max_readers", "older_than", "newer_than")}
    are_right = all(map(_is_count, (limits["max_messages"], limits["max_readers"])))
    # Both ages together may contradict each other.
    are_right = (
        are_right
        and all(map(_is_age, (limits["older_than"], limits["newer_than"])))
        and (limits["older_than"] is None or limits["newer_than"] is None)
    )
    if are_right and all(isinstance(flag, bool) for flag in flags.values()) and not flags.get("only_unread"):
        return
    from airflow_provider_dingtalk.task.arguments import parse_flag
    from airflow_provider_dingtalk.task.rollback_filters import rollback_filters_of

    parse_flag(flags.pop("dry_run", False), "dry_run")
    rollback_filters_of(**limits, **flags)


def check_look_back(value: Any) -> None:
    """Check how far a sweep looks back.

    :raises InvalidInputError: If the value is not a duration.
    """
    if not _is_age(value):
        from airflow_provider_dingtalk.task.arguments import parse_look_back

        parse_look_back(value)


def _is_count(value: Any) -> bool:
    return value is None or (type(value) is int and value > 0)


def _is_age(value: Any) -> bool:
    if isinstance(value, dt.timedelta):
        return value > dt.timedelta()
    return value is None or (type(value) in (int, float) and 0 < value < 1e9)


# ── waits ────────────────────────────────────────────────────────────────────────────────────────────


def check_polls(max_api_calls: Any, max_poke_interval: Any) -> None:
    """Check the limits of a sensor's polls, which are not templated.

    :raises InvalidInputError: If one is not a number, or is not positive.
    """
    if max_api_calls and _is_count(max_api_calls) and max_poke_interval and _is_age(max_poke_interval):
        return
    from airflow_provider_dingtalk.task.arguments import parse_count, parse_seconds

    parse_count(max_api_calls, "max_api_calls", 1)
    parse_seconds(max_poke_interval, "max_poke_interval", allow_zero=False)


def check_wait(kind: str, given: Mapping[str, Any], key_field: str) -> None:
    """Check messages and conditions of a sensor.

    :raises InvalidInputError: If a value is invalid, or the conditions can never hold.
    """
    share, readers = given.get("min_read_share"), given.get("min_readers", 0)
    are_right = share is None or (isinstance(share, float) and 0 < share <= 1)
    are_right = are_right and type(readers) is int and readers >= 0 and given.get("match") in ("all", "any")
    is_usual = given.get("send_statuses") == {"SUCCESS"} and isinstance(given.get("fail_on_unreached"), bool)
    is_named = given.get(key_field) is not None or given.get("receipts") is not None
    if are_right and is_usual and given.get("audience") is None and given.get("read_by") is None and not is_named:
        return
    from airflow_provider_dingtalk.task.errors import NothingToWaitFor
    from airflow_provider_dingtalk.task.wait_spec import check_wanted, wait_spec_of

    wanted = {name: given[name] for name in _CONDITIONS if name in given}
    check_wanted(wanted)
    if is_named:
        # Without a known audience, the other numbers contradict nothing.
        numbers = wanted if "audience" in wanted else {name: wanted[name] for name in _CONDITIONS[:3]}
        with suppress(NothingToWaitFor):
            wait_spec_of(
                kind=kind, key=given.get(key_field), receipts=given.get("receipts"), **_sender(given), **numbers
            )


def check_choices(given: Mapping[str, Any], choices: Mapping[str, Sequence[Any]]) -> None:
    """Check arguments that are one of some words; the first is the default.

    :raises InvalidInputError: If one is another word.
    """
    for name, words in choices.items():
        value = given.get(name, words[0])
        if not isinstance(value, str | int) or value not in words:
            from airflow_provider_dingtalk.exceptions import shown

            raise _invalid(name, f"is {shown(value)}; use one of {', '.join(map(str, words))}")


def _invalid(field: str, problem: str) -> Exception:
    from airflow_provider_dingtalk.exceptions import InvalidInputError

    return InvalidInputError(field, problem)
