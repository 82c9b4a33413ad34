"""The time zone that a time without one is in: Airflow's ``default_timezone``, wherever a person writes a time."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pendulum

from airflow_provider_dingtalk.messaging import receipts
from airflow_provider_dingtalk.messaging.receipts import Receipt


def default_time_zone() -> tzinfo:
    """Return the time zone of ``[core] default_timezone``."""
    from airflow_provider_dingtalk.version_compat import conf

    return _zone(conf.get("core", "default_timezone", fallback="utc"))


@cache
def _zone(name: str) -> tzinfo:
    if name.lower() == "utc":
        return UTC
    zone = (pendulum.now().timezone or UTC) if name == "system" else ZoneInfo(name)
    # pendulum 3.2: its own zones cannot be hashed, and moments are cached by zone.
    return ZoneInfo(zone.key) if isinstance(zone, ZoneInfo) else zone


def parse_receipts(value: Any, field: str = "receipts", *, to_ask: bool = False) -> list[Receipt]:
    """Read receipts that a person may have written; see :func:`messaging.receipts.parse_receipts`.

    :param field: Name of the argument, for errors.
    :param to_ask: Take receipts that are enough to ask for a status, though not for a recall.
    :raises InvalidInputError: If something in it is no receipt.
    """
    return receipts.parse_receipts(value, field, to_ask=to_ask, zone=default_time_zone())


def both_times(moment: float) -> str:
    """Show a moment in UTC and in Airflow's time zone.

    :param moment: In seconds since the epoch.
    """
    zone = default_time_zone()
    local = datetime.fromtimestamp(moment, zone)
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC ({local:%Y-%m-%d %H:%M:%S} {zone})"
