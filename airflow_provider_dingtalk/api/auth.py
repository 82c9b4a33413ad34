"""Who calls, and the access token they call with.

A token lives 7,200 seconds. DingTalk says to keep it and to renew it early:
https://open.dingtalk.com/document/development/obtain-the-access-token-of-an-internal-app
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from copy import copy
from typing import Any, Protocol

from msgspec import Struct

from airflow_provider_dingtalk.api.clock import Clock
from airflow_provider_dingtalk.api.endpoints import AccessToken, Endpoint, GetAccessToken, GetCorpAccessToken
from airflow_provider_dingtalk.api.errors import DingTalkError, without_frames

#: Seconds before its end at which a token is renewed. DingTalk advises ten minutes.
RENEW_BEFORE_END = 600.0
#: Seconds of life that a token is believed at most. DingTalk's live for two hours.
LONGEST_LIFE = 86_400

#: Runs sync code that may block, away from the event loop.
InThread = Callable[[Callable[[], str]], Awaitable[str]]


class App(Protocol):
    """An app's credentials."""

    @property
    def key(self) -> str:
        """What DingTalk counts calls by: the app, and for a third-party app also the organisation."""

    async def token_request(self, in_thread: InThread = asyncio.to_thread) -> Endpoint[AccessToken]:
        """The call that gets a token."""

    def secrets(self) -> tuple[str, ...]:
        """Texts that must never be shown."""


class InternalApp(Struct, frozen=True, kw_only=True):
    """An app of the organisation itself.

    :param client_id: Client ID, once called AppKey.
    :param client_secret: Client Secret, once called AppSecret.
    """

    client_id: str
    client_secret: str

    @property
    def key(self) -> str:
        """What DingTalk counts calls by."""
        return self.client_id

    async def token_request(self, in_thread: InThread = asyncio.to_thread) -> Endpoint[AccessToken]:
        """The call that gets a token."""
        return GetAccessToken(app_key=self.client_id, app_secret=self.client_secret)

    def secrets(self) -> tuple[str, ...]:
        """Texts that must never be shown."""
        return (self.client_secret,)

    def __repr__(self) -> str:
        return f"InternalApp(client_id={self.client_id!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # msgspec gives rich, and so Airflow's tracebacks, all fields.
        return [("client_id", self.client_id)]


class ThirdPartyApp(Struct, frozen=True, kw_only=True):
    """A third-party app that an organisation has authorised.

    :param suite_key: SuiteKey, or CustomKey of a customised app.
    :param suite_secret: SuiteSecret or CustomSecret.
    :param corp_id: CorpId of the organisation.
    :param suite_ticket: Gives the newest ticket that DingTalk pushed; asked at every renewal.
    """

    suite_key: str
    suite_secret: str
    corp_id: str
    suite_ticket: Callable[[], str]

    @property
    def key(self) -> str:
        """What DingTalk counts calls by."""
        return f"{self.suite_key}/{self.corp_id}"

    async def token_request(self, in_thread: InThread = asyncio.to_thread) -> Endpoint[AccessToken]:
        """The call that gets a token."""
        return GetCorpAccessToken(
            suite_key=self.suite_key,
            suite_secret=self.suite_secret,
            auth_corp_id=self.corp_id,
            # It may ask a database: not on the event loop.
            suite_ticket=await in_thread(self.suite_ticket),
        )

    def secrets(self) -> tuple[str, ...]:
        """Texts that must never be shown."""
        return (self.suite_secret,)

    def __repr__(self) -> str:
        return f"ThirdPartyApp(suite_key={self.suite_key!r}, corp_id={self.corp_id!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("suite_key", self.suite_key), ("corp_id", self.corp_id)]


class Tokens:
    """The token of one app: got when first needed, renewed early, and once for all who wait.

    :param request: Sends the call that gets a token, and counts it.
    :param on_new: Told each new token before anybody uses it, to have it masked in logs.
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
        self._one_at_a_time = asyncio.Lock()
        self._current: AccessToken | None = None
        self._renew_at = float("-inf")
        self._failures = 0
        self._failed: DingTalkError | None = None

    async def get(self, used: Counter[str], dead: AccessToken | None = None) -> AccessToken:
        """The current token.

        :param used: Counts the request, if one is needed.
        :param dead: A token that DingTalk just refused: who comes first renews it, the others take the new one.
        """
        seen = self._failures
        async with self._one_at_a_time:
            if self._failed and self._failures != seen:
                # Somebody asked while we waited: the same question would get the same answer.
                raise copy(self._failed)
            # By identity: DingTalk may give the same text again, which is a renewal nevertheless.
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
        if self._on_new and (problem := await _told(self._on_new, answer)):
            raise problem
        # Any number of digits may come, and not all fit into a float.
        seconds = min(answer.expire_in, LONGEST_LIFE)
        # A token shorter than the margin is used for half of its life instead of being renewed at each call.
        self._renew_at = self._clock.monotonic() + max(seconds - RENEW_BEFORE_END, seconds / 2)
        return answer

    def __repr__(self) -> str:
        return "Tokens(***)"


async def _told(on_new: Callable[[str], Awaitable[Any]], token: AccessToken) -> Exception | None:
    """Tell of a new token; give an error back without its frames, whose locals hold the token."""
    try:
        await on_new(token.access_token)
    except Exception as error:
        return without_frames(error)
    return None
