"""Endpoints of access tokens."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from airflow_provider_dingtalk.client.endpoints.base import DOCS, Answer, Auth, Endpoint, Http, Text


class AccessToken(Answer, kw_only=True, frozen=True):
    """Access token and its lifetime in seconds."""

    # Printable ASCII only. Other text does not fit into a header, and the error about it would show the token.
    access_token: Annotated[str, Meta(pattern=r"\A[!-~]+\Z")]
    expire_in: Annotated[int, Meta(gt=0)]

    def __repr__(self) -> str:
        return f"AccessToken(access_token='***', expire_in={self.expire_in})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # msgspec passes all fields to rich, and so to Airflow's tracebacks, so this method leaves the secret out.
        return [("expire_in", self.expire_in)]


class GetAccessToken(Endpoint[AccessToken], kw_only=True, frozen=True):
    """Request for the token of an internal app.

    While a token is valid, DingTalk returns the same one and extends its life.
    """

    http: ClassVar = Http(
        path="/v1.0/oauth2/accessToken",
        doc=DOCS + "obtain-the-access-token-of-an-internal-app",
        auth=Auth.NONE,
    )
    result: ClassVar = AccessToken

    app_key: Text
    app_secret: Text

    def __repr__(self) -> str:
        return f"GetAccessToken(app_key={self.app_key!r}, app_secret='***')"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("app_key", self.app_key)]

    def secrets(self) -> tuple[str, ...]:
        """Return the secret texts, which errors must never show."""
        return (self.app_secret,)


class GetCorpAccessToken(Endpoint[AccessToken], kw_only=True, frozen=True):
    """Request for the token of a third-party app for one organisation.

    DingTalk returns a new token each time.
    """

    http: ClassVar = Http(
        path="/v1.0/oauth2/corpAccessToken",
        doc=DOCS + "obtain-the-access-token-of-the-third-party-application-authorization-enterprise",
        auth=Auth.NONE,
    )
    result: ClassVar = AccessToken

    suite_key: Text
    suite_secret: Text
    auth_corp_id: Text
    suite_ticket: Text

    def __repr__(self) -> str:
        return f"GetCorpAccessToken(suite_key={self.suite_key!r}, suite_secret='***', suite_ticket='***')"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("suite_key", self.suite_key)]

    def secrets(self) -> tuple[str, ...]:
        """Return the secret texts, which errors must never show."""
        return (self.suite_secret, self.suite_ticket)
