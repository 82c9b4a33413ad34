"""Selection of messages by run, by time window, or by message keys."""

from __future__ import annotations

import re
from argparse import Namespace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_dingtalk.cli import output
from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.language import choose
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.receipt import NUMERIC_FIELDS, Receipt
from airflow_provider_dingtalk.task.arguments import both_times, default_time_zone, parse_receipts

if TYPE_CHECKING:
    from airflow_provider_dingtalk.hooks import DingTalkHook

MAX_INPUT_BYTES = 64 * 1024 * 1024
_AGE = re.compile(r"(\d{1,6})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
#: Ways to select messages, by each option that not all of them take.
_WAYS_OF = {
    "task": ("run", "since"),
    "dag": ("since",),
    **dict.fromkeys(("kind", "agent_id", "open_conversation_id", "robot_code"), ("keys",)),
}


class Selection:
    """Messages that the options select, checked before any call.

    :param now: Current time; default the system's.
    :raises InvalidInputError: If the options select nothing, contradict each other, or cannot be read.
    """

    def __init__(self, options: Namespace, now: datetime | None = None) -> None:
        self._options = options
        #: Maximum number of calls that sent a message without a receipt, by task id; known after :meth:`receipts`.
        self.in_doubt: dict[str, int] = {}
        ways = [name for name in ("run", "since", "keys") if getattr(options, name)]
        if len(ways) != 1:
            raise InvalidInputError("--run, --since, --keys", "exactly one of them must be given", "必须且只能填写一个")
        self._way = ways[0]
        # An ignored option, or an empty one, could widen a recall, which cannot be undone, so it is refused.
        for name, allowed in _WAYS_OF.items():
            if getattr(options, name) and self._way not in allowed:
                raise InvalidInputError(
                    "--" + name.replace("_", "-"), f"does not go with --{self._way}", f"不能与 --{self._way} 同用"
                )
        for name in ("run", "task", "dag"):
            # The REST API takes ~ for all.
            if no_ids := {"", "~"}.intersection(getattr(options, name) or ()):
                no_id = no_ids.pop()
                problem = f"{no_id!r} is not an id; name one, or leave the option out"
                raise InvalidInputError(f"--{name}", problem, f"{no_id!r} 不是 ID；请填写，或不使用该选项")
        if self._way == "since":
            self._since = parse_since(options.since, now or datetime.now(UTC))
            moment = both_times(self._since.timestamp())
            output.print_note(choose(f"Since {moment}.", f"起始时间：{moment}。"))
        self._items = _read_keys(options.keys) if self._way == "keys" else []
        self._are_receipts = any(isinstance(item, dict) for item in self._items)
        if self._are_receipts:
            self._items = parse_receipts(self._items, "--keys")
        elif self._items and not options.kind:
            problem, zh = "is needed: keys alone do not say what they are keys of", "必须填写：仅凭消息 ID 不知其种类"
            raise InvalidInputError("--kind", problem, zh)

    def receipts(self, hook: DingTalkHook) -> list[Receipt]:
        """Return the receipts of the selected messages.

        Those of a run or a time window come from Airflow's REST API.

        :raises InvalidInputError: If there is no such run, or a receipt is invalid.
        :raises AirflowRefusedError: If Airflow refuses the login.
        :raises AirflowUnreachableError: If Airflow cannot be reached, or its answer is incomplete.
        """
        if self._way == "keys":
            return self._items if self._are_receipts else self._receipts_of_keys(hook)
        from airflow_provider_dingtalk.cli.airflow_api import AirflowRest
        from airflow_provider_dingtalk.cli.run_receipts import messages_of_run, messages_since

        options = self._options
        with AirflowRest.at(options.airflow_url) as airflow:
            if self._way == "since":
                sent = messages_since(airflow, self._since, options.dag, options.task)
            else:
                dag_id, run_id = options.run
                sent = messages_of_run(airflow, dag_id, run_id, options.task)
        self.in_doubt = sent.in_doubt
        return sent.receipts

    def _receipts_of_keys(self, hook: DingTalkHook) -> list[Receipt]:
        from airflow_provider_dingtalk.task.arguments import receipts_of_keys

        of_kind = message_type(self._options.kind)
        sender = {name: getattr(self._options, name) for name in ("robot_code", "agent_id", "open_conversation_id")}
        needed = of_kind.default_sender
        if sender[needed] is None:
            sender |= {needed: hook.defaults()[needed]}
        # The field's name decides whether keys are parsed as numbers.
        field = of_kind.keys_argument if of_kind.key_field in NUMERIC_FIELDS else "keys"
        return receipts_of_keys(of_kind.kind, self._items, field, sender)


def parse_since(text: str, now: datetime) -> datetime:
    """Parse a time in the past.

    :param text: ``09:30`` of today, ISO 8601, or an age such as ``90m``, ``2h`` or ``1d``. A time without a zone
        is in Airflow's ``default_timezone``.
    :raises InvalidInputError: If the text has none of these forms, or the time is in the future.
    """
    try:
        if age := _AGE.fullmatch(text):
            return now - timedelta(**{_UNITS[age[2]]: int(age[1])})
        if re.fullmatch(r"\d\d:\d\d(:\d\d)?", text):
            text = f"{now.astimezone(default_time_zone()).date()}T{text}"
        since = datetime.fromisoformat(text)
        since = (since if since.tzinfo else since.replace(tzinfo=default_time_zone())).astimezone(UTC)
        if since.year < 1970:
            raise ValueError
    except (ValueError, OverflowError):
        examples = "09:30, 2026-11-21T09:30+08:00, 90m, 2h"
        problem, zh = f"{text[:40]!r} is no time, e.g. {examples}", f"{text[:40]!r} 不是时间，例如 {examples}"
        raise InvalidInputError("--since", problem, zh) from None
    if since > now:
        moment = f"{since:%Y-%m-%d %H:%M} UTC"
        raise InvalidInputError("--since", f"{moment} is yet to come", f"{moment} 是将来的时间")
    return since


def _read_keys(keys: str) -> list[Any]:
    """Read ``--keys``, which is a list, the name of a file, or ``-`` for stdin."""
    if keys == "-":
        return _parse_keys(output.read_stdin("--keys", MAX_INPUT_BYTES))
    if _is_file(keys):
        try:
            return _parse_keys(Path(keys).read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            name, kind = keys[:80], type(error).__name__
            problem, zh = f"{name}: cannot be read ({kind})", f"{name}：无法读取（{kind}）"
            raise InvalidInputError("--keys", problem, zh) from None
    if "." in keys and not _is_json(keys):  # DingTalk's message keys have no dot
        raise InvalidInputError("--keys", f"there is no file {keys[:80]!r}", f"没有文件 {keys[:80]!r}")
    return _parse_keys(keys)


def _is_file(name: str) -> bool:
    try:
        return Path(name).exists()  # also a pipe, as of <(command)
    except (OSError, ValueError):  # a list of many keys is too long for a file name
        return False


def _is_json(text: str) -> bool:
    return text.lstrip()[:1] in ("[", "{")


def _parse_keys(text: str) -> list[Any]:
    """Parse a JSON list, one receipt, the output of ``send --json``, or keys between commas or line breaks."""
    if _is_json(text):
        try:
            decoded = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            raise InvalidInputError("--keys", "is not valid JSON", "不是有效的 JSON") from None
        items = decoded.get("receipts", [decoded]) if isinstance(decoded, dict) else decoded
        items = items if isinstance(items, list) else [items]
    else:
        items = [key for line in text.replace(",", "\n").splitlines() if (key := line.strip())]
        if invalid := [key for key in items if len(key.split()) > 1]:
            problem = f"{invalid[0][:40]!r} is not a key; expected keys separated by commas or lines"
            raise InvalidInputError("--keys", problem, f"{invalid[0][:40]!r} 不是消息 ID；应以逗号或换行分隔")
    if not items:
        raise InvalidInputError("--keys", "holds no key", "没有消息 ID")
    return items
