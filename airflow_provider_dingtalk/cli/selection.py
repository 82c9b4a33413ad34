"""Which messages a command is about: those of a run, of a time window, or named by their keys."""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_dingtalk.api.errors import InvalidInputError
from airflow_provider_dingtalk.cli import talk
from airflow_provider_dingtalk.messaging.receipts import Kind, Receipt
from airflow_provider_dingtalk.time_zone import both_times, default_time_zone, parse_receipts

if TYPE_CHECKING:
    from airflow_provider_dingtalk.hooks import DingTalkHook

_SPAN = re.compile(r"(\d{1,6})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
#: Names of the option whose keys are numbers, so that they are read as such.
_KEYS_FIELD = {Kind.WORK_NOTIFICATION: "msg_task_id"}
#: Options that say more about keys.
_OF_KEYS = ("kind", "agent_id", "open_conversation_id", "robot_code")
MAX_INPUT_BYTES = 64 * 1024 * 1024


class Selection:
    """What the options name, checked before anybody is called.

    :raises InvalidInputError: They name nothing, or too much, or what cannot be read.
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
            talk.say(f"Since {both_times(self.since.timestamp())}.")
        self._given = _read_keys(options.keys) if self.way == "keys" else []
        self._are_receipts = any(isinstance(item, dict) for item in self._given)
        if self._given and not self._are_receipts and not options.kind:
            raise InvalidInputError("--kind", "is needed: keys alone do not say what they are keys of")
        if self._are_receipts:
            self._given = parse_receipts(self._given, "--keys")

    def receipts(self, hook: DingTalkHook) -> list[Receipt]:
        """The messages; those of a run or window by way of Airflow's REST API.

        :raises InvalidInputError: There is no such run, or something is no receipt.
        :raises AirflowRefusedError, AirflowUnreachableError: Airflow does not say.
        """
        if self.way == "keys":
            return self._given if self._are_receipts else self._of_keys(hook)
        from airflow_provider_dingtalk.cli.airflow_rest import AirflowRest
        from airflow_provider_dingtalk.cli.run_receipts import receipts_of_run, receipts_since

        with AirflowRest.at(self._options.airflow_url) as airflow:
            if self.since is not None:
                return receipts_since(airflow, self.since, self._options.dag, self._options.task)
            dag_id, run_id = self._options.run
            return receipts_of_run(airflow, dag_id, run_id, self._options.task)

    def _of_keys(self, hook: DingTalkHook) -> list[Receipt]:
        from airflow_provider_dingtalk.execution import receipts_of_keys

        options, kind = self._options, Kind(self._options.kind)
        sender = {
            "robot_code": options.robot_code,
            "agent_id": options.agent_id,
            "open_conversation_id": options.open_conversation_id,
        }
        needs = "agent_id" if kind is Kind.WORK_NOTIFICATION else "robot_code"
        if sender[needs] is None:
            sender |= {needs: hook.defaults()[needs]}
        return receipts_of_keys(kind, self._given, _KEYS_FIELD.get(kind, "keys"), sender)

    def _refuse_what_does_not_belong(self) -> None:
        """An option that would be ignored may be a mistake, and what is recalled is gone."""
        belongs = {"task": ("run", "since"), "dag": ("since",), **dict.fromkeys(_OF_KEYS, ("keys",))}
        for name, ways in belongs.items():
            if getattr(self._options, name) and self.way not in ways:
                option = "--" + name.replace("_", "-")
                raise InvalidInputError(option, f"does not go with --{self.way}")


def moment(text: str, now: datetime) -> datetime:
    """Read a moment of the past: ``09:30`` of today, ISO 8601, or how long ago: ``90m``, ``2h``, ``1d``.

    A time without a zone is in Airflow's ``default_timezone``.

    :raises InvalidInputError: If it is none of them, or to come.
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
    if "." in given and not _is_json(given):  # no key of DingTalk's has a dot
        raise InvalidInputError("--keys", f"there is no file {given[:80]!r}")
    return _parsed(given)


def _is_file(given: str) -> bool:
    try:
        return Path(given).is_file()
    except (OSError, ValueError):  # many keys make a name too long for a file
        return False


def _is_json(text: str) -> bool:
    return text.lstrip()[:1] in ("[", "{")


def _parsed(text: str) -> list[Any]:
    """Keys or receipts: JSON of a list, of one receipt, or of what ``send --json`` printed; or plain keys."""
    if not _is_json(text):
        found: list[Any] = [key.strip() for line in text.splitlines() for key in line.split(",") if key.strip()]
        if strange := [key for key in found if len(key.split()) > 1]:
            raise InvalidInputError("--keys", f"{strange[0][:40]!r} is no key")
    else:
        try:
            decoded = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            raise InvalidInputError("--keys", "begins like JSON and is none") from None
        if isinstance(decoded, dict):
            decoded = decoded.get("receipts", [decoded])
        found = decoded if isinstance(decoded, list) else [decoded]
    if not found:
        raise InvalidInputError("--keys", "holds no key")
    return found
