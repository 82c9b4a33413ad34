"""Selection of messages by run, by time window, or by message keys."""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_dingtalk.cli import output
from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.receipt import NUMERIC_FIELDS, Receipt
from airflow_provider_dingtalk.task.arguments import both_times, default_time_zone, parse_receipts

if TYPE_CHECKING:
    from airflow_provider_dingtalk.hooks import DingTalkHook

_SPAN = re.compile(r"(\d{1,6})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
#: Options that belong to ``--keys``.
_OF_KEYS = ("kind", "agent_id", "open_conversation_id", "robot_code")
MAX_INPUT_BYTES = 64 * 1024 * 1024


class Selection:
    """Messages that the options select, checked before any call.

    :param now: Current time; default the system's.
    :raises InvalidInputError: If the options select nothing, contradict each other, or cannot be read.
    """

    def __init__(self, options: Namespace, now: datetime | None = None) -> None:
        self._options = options
        ways = [name for name in ("run", "since", "keys") if getattr(options, name)]
        if len(ways) != 1:
            raise InvalidInputError("--run, --since, --keys", "exactly one of them must be given")
        self.way = ways[0]
        self._refuse_what_does_not_belong()
        self.since = moment(options.since, now or datetime.now(UTC)) if self.way == "since" else None
        if self.since:
            output.say(f"Since {both_times(self.since.timestamp())}.")
        self._given = _read_keys(options.keys) if self.way == "keys" else []
        self._are_receipts = any(isinstance(item, dict) for item in self._given)
        if self._given and not self._are_receipts and not options.kind:
            raise InvalidInputError("--kind", "is needed: keys alone do not say what they are keys of")
        if self._are_receipts:
            self._given = parse_receipts(self._given, "--keys")

    def receipts(self, hook: DingTalkHook) -> list[Receipt]:
        """Return the receipts of the selected messages.

        Those of a run or a time window come from Airflow's REST API.

        :raises InvalidInputError: If there is no such run, or a receipt is invalid.
        :raises AirflowRefusedError: If Airflow refuses the login.
        :raises AirflowUnreachableError: If Airflow cannot be reached, or its answer is incomplete.
        """
        if self.way == "keys":
            return self._given if self._are_receipts else self._of_keys(hook)
        from airflow_provider_dingtalk.cli.airflow_api import AirflowRest
        from airflow_provider_dingtalk.cli.run_receipts import receipts_of_run, receipts_since

        with AirflowRest.at(self._options.airflow_url) as airflow:
            if self.since is not None:
                return receipts_since(airflow, self.since, self._options.dag, self._options.task)
            dag_id, run_id = self._options.run
            return receipts_of_run(airflow, dag_id, run_id, self._options.task)

    def _of_keys(self, hook: DingTalkHook) -> list[Receipt]:
        from airflow_provider_dingtalk.task.arguments import receipts_of_keys

        options, of_kind = self._options, message_type(self._options.kind)
        sender = {
            "robot_code": options.robot_code,
            "agent_id": options.agent_id,
            "open_conversation_id": options.open_conversation_id,
        }
        needs = of_kind.default_sender
        if sender[needs] is None:
            sender |= {needs: hook.defaults()[needs]}
        # The field's name decides whether keys are parsed as numbers.
        field = of_kind.keys_argument if of_kind.key_field in NUMERIC_FIELDS else "keys"
        return receipts_of_keys(of_kind.kind, self._given, field, sender)

    def _refuse_what_does_not_belong(self) -> None:
        """Refuse options that would be ignored, because a recall cannot be undone."""
        belongs = {"task": ("run", "since"), "dag": ("since",), **dict.fromkeys(_OF_KEYS, ("keys",))}
        for name, ways in belongs.items():
            if getattr(self._options, name) and self.way not in ways:
                option = "--" + name.replace("_", "-")
                raise InvalidInputError(option, f"does not go with --{self.way}")


def moment(text: str, now: datetime) -> datetime:
    """Parse a time in the past.

    :param text: ``09:30`` of today, ISO 8601, or an age such as ``90m``, ``2h`` or ``1d``. A time without a zone
        is in Airflow's ``default_timezone``.
    :raises InvalidInputError: If the text has none of these forms, or the time is in the future.
    """
    if span := _SPAN.fullmatch(text):
        return now - timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        if re.fullmatch(r"\d\d:\d\d(:\d\d)?", text):
            text = f"{now.astimezone(default_time_zone()).date()}T{text}"
        found = datetime.fromisoformat(text)
        found = (found if found.tzinfo else found.replace(tzinfo=default_time_zone())).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidInputError(
            "--since", f"{text[:40]!r} is no time, e.g. 09:30, 2026-11-21T09:30+08:00, 90m, 2h"
        ) from None
    if found > now:
        raise InvalidInputError("--since", f"{found:%Y-%m-%d %H:%M} UTC is yet to come")
    return found


def _read_keys(given: str) -> list[Any]:
    if given == "-":
        return _parsed(sys.stdin.read(MAX_INPUT_BYTES))
    if _is_file(given):
        try:
            return _parsed(Path(given).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInputError("--keys", f"{given[:80]}: cannot be read ({type(error).__name__})") from None
    if "." in given and not _is_json(given):  # DingTalk's message keys have no dot
        raise InvalidInputError("--keys", f"there is no file {given[:80]!r}")
    return _parsed(given)


def _is_file(given: str) -> bool:
    try:
        return Path(given).is_file()
    except (OSError, ValueError):  # a list of many keys is too long for a file name
        return False


def _is_json(text: str) -> bool:
    return text.lstrip()[:1] in ("[", "{")


def _parsed(text: str) -> list[Any]:
    """Parse message keys or receipts.

    :param text: JSON of a list, of one receipt, or of the output of ``send --json``; or plain keys, separated by
        commas or line breaks.
    """
    if not _is_json(text):
        found: list[Any] = [key.strip() for line in text.splitlines() for key in line.split(",") if key.strip()]
        if strange := [key for key in found if len(key.split()) > 1]:
            raise InvalidInputError(
                "--keys", f"{strange[0][:40]!r} is not a key; expected keys separated by commas or lines"
            )
    else:
        try:
            decoded = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            raise InvalidInputError("--keys", "is not valid JSON") from None
        if isinstance(decoded, dict):
            decoded = decoded.get("receipts", [decoded])
        found = decoded if isinstance(decoded, list) else [decoded]
    if not found:
        raise InvalidInputError("--keys", "holds no key")
    return found
