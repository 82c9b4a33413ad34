"""What a call to DingTalk and its answer are made of."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import msgspec
from msgspec import Meta, Struct

DOCS = "https://open.dingtalk.com/document/development/"

Result_co = TypeVar("Result_co", covariant=True)


class Host(StrEnum):
    """DingTalk's two hosts. Which names they have depends on the region."""

    API = "api"
    """``api.dingtalk.…``: JSON, token in a header, errors by status and ``code``."""
    OAPI = "oapi"
    """``oapi.dingtalk.…``: the old host. Forms, token in the query, errors by ``errcode`` under HTTP 200."""


class Auth(StrEnum):
    """Where the access token of a call goes."""

    HEADER = "header"
    QUERY = "query"
    NONE = "none"


class Effect(StrEnum):
    """What happens when a call that may or may not have been carried out is sent once more."""

    READ = "read"
    """Nothing: ask as often as need be."""
    RECALL = "recall"
    """The end state is the same, but what DingTalk answers the second time is undocumented."""
    SEND = "send"
    """A second message: DingTalk has no idempotency key. Never repeated blindly."""


class Http(Struct, frozen=True, kw_only=True):
    """Where a call goes and what DingTalk's page about it is.

    :param path: Path under the host, in DingTalk's spelling.
    :param doc: URL of DingTalk's own page.
    """

    path: str
    doc: str
    method: str = "POST"
    host: Host = Host.API
    auth: Auth = Auth.HEADER
    effect: Effect = Effect.READ


Text = Annotated[str, Meta(min_length=1)]


class Endpoint(
    Struct,
    Generic[Result_co],
    kw_only=True,
    frozen=True,
    rename="camel",
    omit_defaults=True,
    forbid_unknown_fields=True,
):
    """A call to DingTalk, ready to be sent. Fields left at ``None`` do not go over the wire."""

    http: ClassVar[Http]
    result: ClassVar[Any]

    @property
    def name(self) -> str:
        """The path without version: what logs, limits and reports call this API."""
        return name_of(type(self))

    def secrets(self) -> tuple[str, ...]:
        """Fields that must never be shown."""
        return ()


class OldEndpoint(Endpoint[Result_co], kw_only=True, frozen=True, rename=None):
    """A call to the old host, which spells its fields in snake_case."""


def name_of(endpoint: type[Endpoint[Any]]) -> str:
    """The path of an endpoint without its version, e.g. ``robot/groupMessages/recall``."""
    return endpoint.http.path.removeprefix("/v1.0/").removeprefix("/")


def fields_of(endpoint: Endpoint[Any]) -> dict[str, Any]:
    """The fields that go over the wire, by their names there.

    :raises msgspec.ValidationError: A field is missing, of a wrong type, or over DingTalk's limit.
    """
    fields: dict[str, Any] = msgspec.to_builtins(endpoint)
    msgspec.convert(fields, type(endpoint))
    return fields


# Unknown fields in answers are let through: DingTalk adds some without telling.


class Answer(Struct, kw_only=True, frozen=True, rename="camel"):
    """A good answer of the new host."""


class OldAnswer(Struct, kw_only=True, frozen=True):
    """A good answer of the old host: ``errcode`` was 0, or the client would have raised."""

    errcode: int
    errmsg: str | None = None
