"""Parser of receipts in XComs, templates and files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Any

import msgspec

from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.messages.message_types import message_type
from airflow_provider_dingtalk.messages.receipt import (
    MAX_TEXT_LENGTH,
    RECEIPT_VERSION,
    Kind,
    Receipt,
    decoded,
    is_nothing,
    iso,
    moment_of,
    parse_id,
    type_of,
)

#: Versions that this package reads.
READ_VERSIONS = (1, 2)
#: Maximum depth of nested lists; a mapped send in a mapped task group has three levels.
MAX_DEPTH = 8


def parse_receipts(value: Any, field: str = "receipts", *, to_ask: bool = False, zone: tzinfo = UTC) -> list[Receipt]:
    """Parse the receipts in a value from an XCom or a template.

    :param value: Receipts, JSON of them, or lists of both, nested as mapped tasks nest them. ``None`` and
        ``"None"``, which a skipped task leaves, are dropped.
    :param field: Name of the argument, for errors; default ``receipts``.
    :param to_ask: If True, accept receipts that suffice for a status, but not for a recall; default False.
    :param zone: Time zone of a ``sent_at`` without one; default UTC.
    :raises InvalidInputError: If an item is not a receipt.
    """
    return [_receipt(item, path, to_ask, zone) for path, item in _flat(value, field, 0)]


def _flat(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    if is_nothing(value):
        return
    if depth > MAX_DEPTH:
        raise InvalidInputError(path.split("[", maxsplit=1)[0], f"is nested deeper than {MAX_DEPTH} lists")
    if isinstance(value, str):
        if not value.lstrip().startswith(("[", "{", "(")):
            problem = "is a text, not a receipt; give keys in the keys argument of the operator of their kind"
            raise InvalidInputError(path, problem)
        value = decoded(value, path)
    if isinstance(value, Mapping | Receipt):
        yield path, value
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        for index, item in enumerate(value):
            yield from _flat(item, f"{path}[{index}]", depth + 1)
    else:
        raise InvalidInputError(path, f"must be a receipt or a list of receipts, not {type_of(value)}")


def _receipt(value: Mapping[str, Any] | Receipt, path: str, to_ask: bool, zone: tzinfo) -> Receipt:
    if isinstance(value, Receipt):
        # A receipt that the caller built may lack fields, so it is checked like JSON.
        value = msgspec.structs.asdict(value)
    if "kind" not in value and "send_status" in value:
        raise InvalidInputError(path, "is the result of a sensor; give the output of the task that sends")
    of_kind = message_type(_kind(value.get("kind"), path))
    version = value.get("version", RECEIPT_VERSION)
    if type(version) is not int or version not in READ_VERSIONS:
        known = " and ".join(map(str, READ_VERSIONS))
        raise InvalidInputError(f"{path}.version", f"is {_shown(version)}; this package knows {known}")
    is_optional = to_ask and of_kind.is_polled_by_key
    senders = [name for name in of_kind.sender_fields if not (is_optional and is_nothing(value.get(name)))]
    fields: dict[str, Any] = {name: _required(value, name, path) for name in (of_kind.key_field, *senders)}
    recipients, conn_id = value.get("recipients"), value.get("conn_id")
    return Receipt(
        kind=of_kind.kind,
        conn_id=None if is_nothing(conn_id) else parse_id(conn_id, f"{path}.conn_id"),
        sent_at=_sent_at(value.get("sent_at"), f"{path}.sent_at", zone),
        recipients=recipients if type(recipients) is int and 0 <= recipients < 2**63 else None,
        text=_text(value.get("text")),
        **fields,
    )


def _kind(value: Any, path: str) -> Kind:
    try:
        return Kind(value)
    except ValueError:
        shown = "missing" if value is None else _shown(value)
        raise InvalidInputError(f"{path}.kind", f"is {shown}; use one of {', '.join(Kind)}") from None


def _shown(value: Any) -> str:
    """Format any value briefly for an error text."""
    if isinstance(value, str):
        return repr(value[:40])
    return repr(value) if isinstance(value, int) and abs(value) < 2**63 else f"of type {type(value).__name__}"


def _text(value: Any) -> str | None:
    """Return the printable characters of a text; a text that is not valid harms no recall, so it is left out."""
    return "".join(filter(str.isprintable, value))[:MAX_TEXT_LENGTH] or None if isinstance(value, str) else None


def _required(value: Mapping[str, Any], name: str, path: str) -> str:
    if value.get(name) is None:
        raise InvalidInputError(f"{path}.{name}", f"is missing; a receipt of kind {value['kind']} needs it")
    return parse_id(value[name], f"{path}.{name}")


def _sent_at(value: Any, field: str, zone: tzinfo) -> str | None:
    if value is None:
        return None
    try:
        return iso(moment_of(value, zone))
    except (ValueError, TypeError, OverflowError):
        raise InvalidInputError(field, "is not a date and time in ISO 8601, e.g. 2026-11-21T08:00:00Z") from None
