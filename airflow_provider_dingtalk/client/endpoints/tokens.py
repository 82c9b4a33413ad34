"""Endpoints of access tokens."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from airflow_provider_dingtalk.client.endpoints.base import Answer, Auth, Endpoint, Http, Text
from airflow_provider_dingtalk.client.secret_fields import SecretFields


class AccessToken(SecretFields, Answer, kw_only=True, frozen=True):
    """Access token and its lifetime in seconds."""

    shown: ClassVar = ("expire_in",)

    # Printable ASCII only. Other text does not fit into a header, and the error about it would show the token.
    access_token: Annotated[str, Meta(pattern=r"\A[!-~]+\Z")]
    expire_in: Annotated[int, Meta(gt=0)]


class GetAccessToken(SecretFields, Endpoint[AccessToken], kw_only=True, frozen=True):
    """Request for the token of an internal app.

    While a token is valid, DingTalk returns the same one and extends its life.
    """

    http: ClassVar = Http("/v1.0/oauth2/accessToken", "obtain-the-access-token-of-an-internal-app", auth=Auth.NONE)
    result: ClassVar = AccessToken
    shown: ClassVar = ("app_key",)

    app_key: Text
    app_secret: Text


class GetCorpAccessToken(SecretFields, Endpoint[AccessToken], kw_only=True, frozen=True):
    """Request for the token of a third-party app for one organisation.

    DingTalk returns a new token each time.
    """

    http: ClassVar = Http(
        "/v1.0/oauth2/corpAccessToken",
        "obtain-the-access-token-of-the-third-party-application-authorization-enterprise",
        auth=Auth.NONE,
    )
    result: ClassVar = AccessToken
    shown: ClassVar = ("suite_key", "auth_corp_id")

    suite_key: Text
    suite_secret: Text
    auth_corp_id: Text
    suite_ticket: Text
