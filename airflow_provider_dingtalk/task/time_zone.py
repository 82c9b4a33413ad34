"""Time zone of user-written times without one: Airflow's ``default_timezone``."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pendulum

from airflow_provider_dingtalk.messages import receipt_parser
from airflow_provider_dingtalk.messages.receipt import Receipt


def default_time_zone() -> tzinfo:
    """Return the time zone of ``[core] default_timezone``."""
    from airflow_provider_dingtalk.version_compat import conf

    return _zone(conf.get("core", "default_timezone", fallback="utc"))


@cache
def _zone(name: str) -> tzinfo:
    if name.lower() == "utc":
        return UTC
    zone = (pendulum.now().timezone or UTC) if name == "system" else ZoneInfo(name)
    # Zones of pendulum 3.2 cannot be hashed, but times are cached by zone, so the zone is converted.
    return ZoneInfo(zone.key) if isinstance(zone, ZoneInfo) else zone


def parse_receipts(value: Any, field: str = "receipts", *, to_ask: bool = False) -> list[Receipt]:
    """Parse receipts, also user-written ones; see :mod:`airflow_provider_dingtalk.messages.receipt_parser`.

    :param field: Name of the argument, for errors; default ``receipts``.
    :param to_ask: Accept receipts that are sufficient to poll a status, but not to recall; default False.
    :raises InvalidInputError: If an item is not a receipt.
    """
    return receipt_parser.parse_receipts(value, field, to_ask=to_ask, zone=default_time_zone())


def both_times(moment: float) -> str:
    """Format a time in UTC and in Airflow's time zone.

    :param moment: Time in seconds since the epoch.
    """
    zone = default_time_zone()
    local = datetime.fromtimestamp(moment, zone)
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC ({local:%Y-%m-%d %H:%M:%S} {zone})"
