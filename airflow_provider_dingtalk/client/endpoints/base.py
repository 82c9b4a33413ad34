"""Base structs of DingTalk's endpoints and answers."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import msgspec
from msgspec import Meta, Struct

DOCS = "https://open.dingtalk.com/document/development/"

Result_co = TypeVar("Result_co", covariant=True)


class Host(StrEnum):
    """Hosts of DingTalk. Their names depend on the region."""

    API = "api"  # ``api.dingtalk.…``, with JSON, the token in a header, and errors by status and ``code``.
    OAPI = "oapi"
    """``oapi.dingtalk.…``, the legacy host, with forms, the token in the query, and ``errcode`` under HTTP 200."""


class Auth(StrEnum):
    """Place of the access token in a request."""

    HEADER = "header"
    QUERY = "query"
    NONE = "none"


class Idempotency(StrEnum):
    """Effect of repeating a call in doubt."""

    READ = "read"  # No effect; the call can be repeated.
    RECALL = "recall"  # Same end state; DingTalk's answer to the second call is not documented.
    SEND = "send"  # Second message, because DingTalk has no idempotency key; never repeated automatically.


class Http(Struct, frozen=True):
    """HTTP properties of an endpoint.

    :param path: Path under the host, in DingTalk's spelling.
    :param page: Name of DingTalk's page.
    :param method: HTTP method; default POST.
    :param host: Host of the API; default the current one.
    :param auth: Place of the access token; default a header.
    :param idempotency: Effect of repeating a call in doubt; default none.
    """

    path: str
    page: str
    method: str = "POST"
    host: Host = Host.API
    auth: Auth = Auth.HEADER
    idempotency: Idempotency = Idempotency.READ

    @property
    def doc(self) -> str:
        """URL of DingTalk's page."""
        return DOCS + self.page


def legacy_http(path: str, page: str, idempotency: Idempotency = Idempotency.READ) -> Http:
    """Return the HTTP properties of an endpoint of the legacy host."""
    return Http(path, page, host=Host.OAPI, auth=Auth.QUERY, idempotency=idempotency)


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
    """Base struct of a call to DingTalk. Fields with their default value are not sent."""

    http: ClassVar[Http]
    result: ClassVar[Any]

    @property
    def name(self) -> str:
        """Path without version, as the API's name in logs and reports."""
        return name_of(type(self))

    def secrets(self) -> tuple[str, ...]:
        """Return the secret texts, which errors must never show."""
        return ()


class LegacyEndpoint(Endpoint[Result_co], kw_only=True, frozen=True, rename=None):
    """Base struct of calls to the legacy host, with snake_case fields."""


def name_of(endpoint: type[Endpoint[Any]]) -> str:
    """Return an endpoint's path without version, e.g. ``robot/groupMessages/recall``."""
    return endpoint.http.path.removeprefix("/v1.0/").removeprefix("/")


def fields_of(endpoint: Endpoint[Any]) -> dict[str, Any]:
    """Return the fields to send, by DingTalk's names.

    :raises msgspec.ValidationError: If a field is missing, has a wrong type, or exceeds DingTalk's limit.
    """
    fields: dict[str, Any] = msgspec.to_builtins(endpoint)
    msgspec.convert(fields, type(endpoint))
    return fields


# DingTalk adds fields to answers without notice, so unknown fields are ignored.


class Answer(Struct, kw_only=True, frozen=True, rename="camel"):
    """Base struct of a success answer of the current host."""


class LegacyResponse(Struct, kw_only=True, frozen=True):
    """Base struct of a success answer of the legacy host. ``errcode`` is 0, otherwise the client raises."""

    errcode: int
    errmsg: str | None = None
