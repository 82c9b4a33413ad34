"""Checks of a task's arguments when its DAG file is parsed, by the rules of the run.

The dag-processor makes all tasks of a file again and again. So the rules are imported only for a value that looks
wrong, and raise their error. Templates and XComs are checked when the task runs.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

#: Arguments that hold a message's content; exactly one is given.
CONTENTS = ("text", "markdown", "msg_key", "msg", "content")
REMIND_TYPES = ("app", "sms", "phone")
SEND_CHOICES = {"on_unknown_send": ("fail", "skip", "resend"), "on_cleared_send": ("fail", "resend", "keep")}
ON_EMPTY = ("succeed", "skip", "fail")
OUTCOMES = frozenset({"failed", "expired", "unknown"})
#: Values in place of templates, which never make an argument wrong.
_PLACEHOLDERS: dict[str, Any] = {
    **dict.fromkeys(("open_conversation_id", "cool_app_code", "robot_code", "user_ids"), "placeholder"),
    "agent_id": 1,
}
_PLAIN_TYPES = (bool, int, float, type(None), dt.datetime, dt.timedelta)


def known(task: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return the values of these arguments that no template or XCom decides."""
    marks = ("{{", "{%") if not task.dag.jinja_environment_kwargs else ("",)
    values = {name: getattr(task, name, None) for name in names}
    return {name: value for name, value in values.items() if _is_known(value, marks)}


def _is_known(value: Any, marks: tuple[str, ...]) -> bool:
    if isinstance(value, str):
        return not any(mark in value for mark in marks)
    if isinstance(value, Mapping):
        return _is_known([*value, *value.values()], marks)
    if isinstance(value, list | tuple | set | frozenset):
        return all(_is_known(item, marks) for item in value)
    return isinstance(value, _PLAIN_TYPES)


def check_send_request(task: Any) -> None:
    """Check receivers and content of a send.

    :raises InvalidInputError: If one is missing or invalid, or they contradict each other.
    """
    names = task.template_fields
    given = known(task, names)
    contents = [name for name in (*CONTENTS, "title", "msg_param") if name in names]
    is_content_known = given.keys() >= set(contents)
    if (not is_content_known or _is_content_right(given)) and _are_receivers_right(given, names):
        return
    from airflow_provider_dingtalk.messages.message_types import send_requests_for

    content = {name: given[name] for name in contents} if is_content_known else {"text": "placeholder"}
    # The connection may have the sender, so a missing one is not wrong.
    rest = {name: given.get(name, _PLACEHOLDERS.get(name)) for name in names if name not in contents}
    senders: dict[str, Any] = {
        name: _PLACEHOLDERS[name] for name in ("robot_code", "agent_id") if name in rest and not rest[name]
    }
    arguments: dict[str, Any] = {**rest, **senders, **content}
    send_requests_for(task.kind, **{name: value for name, value in arguments.items() if value is not None})


def _is_content_right(given: Mapping[str, Any]) -> bool:
    found = [name for name in CONTENTS if given.get(name) is not None]
    # Templates of robots and of work notifications have parameters that only the rules know.
    if len(found) != 1 or found[0] in ("msg_key", "msg") or given.get("remind_type", "app") not in REMIND_TYPES:
        return False
    content = given[found[0]]
    is_text = isinstance(content, str) and bool(content.strip()) and given.get("msg_param") is None
    return is_text and (found[0] == "markdown" or given.get("title") is None)


def _are_receivers_right(given: Mapping[str, Any], names: Collection[str]) -> bool:
    receivers = [name for name in ("open_conversation_id", "user_ids", "dept_ids", "to_all_user") if name in names]
    values = [given[name] for name in receivers if name in given]
    is_missing = len(values) == len(receivers) and not any(values)
    required = len(receivers) == 1 or "dept_ids" not in names
    return not is_missing and all(_is_id_or_list(value) for value in values if required or value)


def _is_id_or_list(value: Any) -> bool:
    if isinstance(value, list | tuple | set | frozenset):
        return bool(value) and all(_is_id_or_list(item) for item in value)
    return value is True or (isinstance(value, str | int) and bool(str(value).strip()))


def check_outcomes(on_empty: Any, fail_on: Any) -> None:
    """Check ``on_empty`` and ``fail_on``.

    :raises InvalidInputError: If one is not among the choices.
    """
    chosen = [fail_on] if isinstance(fail_on, str) else fail_on
    if on_empty in ON_EMPTY and isinstance(chosen, list | tuple | set | frozenset) and OUTCOMES.issuperset(chosen):
        return
    from airflow_provider_dingtalk.task.arguments import check_choices

    check_choices(on_empty, fail_on)


def check_keys(given: Mapping[str, Any], keys_argument: str) -> None:
    """Check that messages are named, and that keys and receipts are not exchanged.

    :raises InvalidInputError: If no message is named, or a value belongs to the other argument.
    """
    if given.get(keys_argument, "a template") is None and given.get("receipts", "a template") is None:
        raise _invalid(keys_argument, "is missing; give it, or receipts")
    keys, receipts = given.get(keys_argument), given.get("receipts")
    if any(isinstance(item, Mapping) for item in _items(keys)):
        from airflow_provider_dingtalk.messages.receipt import parse_keys

        parse_keys(keys, keys_argument)
    if any(isinstance(item, str) and item.strip()[:1] not in ("[", "{", "") for item in _items(receipts)):
        from airflow_provider_dingtalk.task.arguments import parse_receipts

        parse_receipts(receipts)


def _items(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list | tuple | set | frozenset) else () if value is None else (value,)


def check_source(given: Mapping[str, Any]) -> None:
    """Check the arguments that select a rollback's messages.

    :raises InvalidInputError: If no messages are selected, a window has no start, or a time is not one.
    """
    sources = ("receipts", "from_tasks", "from_run", "since")
    if given.keys() >= set(sources) and all(given[name] is None for name in sources):
        field = "since" if given.get("from_dag") or given.get("until") else "from_tasks"
        raise _invalid(field, "is missing; give it, or from_run, since or receipts")
    if given.get("until") and given.get("since", "a template") is None:
        raise _invalid("since", "is missing; until ends the window that it starts")
    for name in ("since", "until"):
        if isinstance(moment := given.get(name), str) and not re.match(r"\d{4}-\d\d-\d\d", moment):
            from airflow_provider_dingtalk.task.arguments import parse_moment

            parse_moment(moment, name)


def check_filters(given: Mapping[str, Any]) -> None:
    """Check the filters of a rollback.

    :raises InvalidInputError: If a value is invalid, or two contradict each other.
    """
    flags = {name: given[name] for name in ("dry_run", "only_unread", "with_readers") if name in given}
    limits = {name: given.get(name) for name in ("max_messages", "max_readers", "older_than", "newer_than")}
    are_right = all(map(_is_count, (limits["max_messages"], limits["max_readers"])))
    are_right = are_right and all(map(_is_age, (limits["older_than"], limits["newer_than"])))
    if are_right and all(isinstance(flag, bool) for flag in flags.values()) and not flags.get("only_unread"):
        return
    from airflow_provider_dingtalk.task.arguments import parse_flag
    from airflow_provider_dingtalk.task.rollback_filters import rollback_filters_of

    parsed: dict[str, Any] = {name: parse_flag(flag, name) for name, flag in flags.items()}
    rollback_filters_of(**{**limits, **{name: flag for name, flag in parsed.items() if name != "dry_run"}})


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
    return value is None or (isinstance(value, dt.timedelta) and value >= dt.timedelta()) or _is_count(value)


def check_wait(given: Mapping[str, Any]) -> None:
    """Check the conditions of a sensor.

    :raises InvalidInputError: If a condition is invalid, or can never hold.
    """
    share, readers = given.get("min_read_share"), given.get("min_readers")
    are_right = share is None or (isinstance(share, float) and 0 < share <= 1)
    are_right = are_right and (readers == 0 or _is_count(readers)) and given.get("match") in ("all", "any")
    is_usual = given.get("send_statuses") == {"SUCCESS"} and isinstance(given.get("fail_on_unreached"), bool)
    if are_right and is_usual and given.get("audience") is None and given.get("read_by") is None:
        return
    from airflow_provider_dingtalk.task.wait_spec import check_wanted

    check_wanted(given)


def check_choices(given: Mapping[str, Any], choices: Mapping[str, Sequence[str]]) -> None:
    """Check arguments that are one of some words; the first is the default.

    :raises InvalidInputError: If one is another word.
    """
    for name, words in choices.items():
        if (value := given.get(name, words[0])) not in words:
            from airflow_provider_dingtalk.exceptions import shown

            raise _invalid(name, f"is {shown(value)}; use one of {', '.join(words)}")


def _invalid(field: str, problem: str) -> Exception:
    from airflow_provider_dingtalk.exceptions import InvalidInputError

    return InvalidInputError(field, problem)
