"""Credentials of an app, and its access token.

A token lives 7,200 seconds. DingTalk advises to cache it and to renew it early:
https://open.dingtalk.com/document/development/obtain-the-access-token-of-an-internal-app
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from copy import copy
from typing import Any, ClassVar, Protocol

from msgspec import Struct

from airflow_provider_dingtalk.client.clock import Clock
from airflow_provider_dingtalk.client.endpoints import AccessToken, Endpoint, GetAccessToken, GetCorpAccessToken
from airflow_provider_dingtalk.client.secret_fields import SecretFields
from airflow_provider_dingtalk.exceptions import DingTalkError, without_frames

#: Seconds before a token expires at which it is renewed. DingTalk advises 10 minutes.
RENEW_BEFORE_END = 600.0
#: Longest lifetime of a token that is accepted, in seconds. DingTalk's tokens live for 2 hours.
LONGEST_LIFE = 86_400

#: Function that runs sync code outside the event loop, because the code may block.
InThread = Callable[[Callable[[], str]], Awaitable[str]]


class App(Protocol):
    """Credentials of an app."""

    @property
    def key(self) -> str:
        """Key by which DingTalk counts calls: the app, and for a third-party app also the organisation."""

    async def token_request(self, in_thread: InThread = asyncio.to_thread) -> Endpoint[AccessToken]:
        """Return the request for an access token."""

    def secrets(self) -> tuple[str, ...]:
        """Return the secret texts, which errors must never show."""


class InternalApp(SecretFields, Struct, frozen=True, kw_only=True):
    """Credentials of an organisation's internal app.

    :param client_id: Client ID, formerly AppKey.
    :param client_secret: Client Secret, formerly AppSecret.
    """

    shown: ClassVar = ("client_id",)

    client_id: str
    client_secret: str

    @property
    def key(self) -> str:
        """Key by which DingTalk counts calls."""
        return self.client_id

    async def token_request(self, in_thread: InThread = asyncio.to_thread) -> Endpoint[AccessToken]:
        """Return the request for an access token."""
        return GetAccessToken(app_key=self.client_id, app_secret=self.client_secret)


class ThirdPartyApp(SecretFields, Struct, frozen=True, kw_only=True):
    """Credentials of a third-party app that an organisation has authorised.

    :param suite_key: SuiteKey, or CustomKey of a customised app.
    :param suite_secret: SuiteSecret or CustomSecret.
    :param corp_id: CorpId of the organisation.
    :param suite_ticket: Returns the newest ticket that DingTalk pushed; called at every renewal.
    """

    shown: ClassVar = ("suite_key", "corp_id")

    suite_key: str
    suite_secret: str
    corp_id: str
    suite_ticket: Callable[[], str]

    @property
    def key(self) -> str:
        """Key by which DingTalk counts calls."""
        return f"{self.suite_key}/{self.corp_id}"

    async def token_request(self, in_thread: InThread = asyncio.to_thread) -> Endpoint[AccessToken]:
        """Return the request for an access token."""
        return GetCorpAccessToken(
            suite_key=self.suite_key,
            suite_secret=self.suite_secret,
            auth_corp_id=self.corp_id,
            # It may query a database, so it does not run on the event loop.
            suite_ticket=await in_thread(self.suite_ticket),
        )


class Tokens:
    """Token cache of one app.

    A token is requested on first use and renewed early. Concurrent callers share one request.

    :param request: Sends the request for a token, and counts it.
    :param on_new: Receives each new token before its first use, to mask it in logs.
    """

    def __init__(
        self,
        request: Callable[[Counter[str]], Awaitable[AccessToken]],
        clock: Clock,
        on_new: Callable[[str], Awaitable[Any]] | None = None,
    ) -> None:
        self._request = request
        self._clock = clock
        self._on_new = on_new
        self._lock = asyncio.Lock()
        self._current: AccessToken | None = None
        self._renew_at = float("-inf")
        self._failures = 0
        self._failed: DingTalkError | None = None

    async def get(self, used: Counter[str], dead: AccessToken | None = None) -> AccessToken:
        """Return the current token, renewed if necessary.

        :param used: Counts the request, if one is sent.
        :param dead: Token that DingTalk just refused. The first caller renews it; the others take the new one.
        :raises DingTalkError: If the request for a token fails.
        """
        seen = self._failures
        async with self._lock:
            if self._failed and self._failures != seen:
                # The request of another caller failed during the wait, so an identical request is not sent.
                raise copy(self._failed)
            # Compared by identity, because DingTalk may renew a token without changing its text.
            current = self._current
            if current is None or current is dead or self._clock.monotonic() >= self._renew_at:
                current = self._current = await self._renew(used)
            return current

    async def _renew(self, used: Counter[str]) -> AccessToken:
        try:
            answer = await self._request(used)
        except DingTalkError as error:
            self._failures, self._failed = self._failures + 1, error
            raise
        self._failed = None
        if problem := await self._report(answer):
            raise problem
        # The answer may hold an integer too large for a float, so it is limited first.
        seconds = min(answer.expire_in, LONGEST_LIFE)
        # A token that lives less than the margin would be renewed at each call, so half of its life is used.
        self._renew_at = self._clock.monotonic() + max(seconds - RENEW_BEFORE_END, seconds / 2)
        return answer

    async def _report(self, token: AccessToken) -> Exception | None:
        """Report a new token to the callback; return its error without frames, because their locals hold the token."""
        try:
            if self._on_new:
                await self._on_new(token.access_token)
        except Exception as error:
            return without_frames(error)
        return None

    def __repr__(self) -> str:
        return "Tokens(***)"
