"""Triggers for row ``triggerer`` that record when they begin and when they are ready."""

from __future__ import annotations

import time
from typing import Any

from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.jobs.wait import Wait
from airflow_provider_dingtalk.triggers import DingTalkMessageTrigger
from benchmarks.counting import BEGUN, READY, tell


class Shared(DingTalkMessageTrigger):
    """Our trigger; it also records when it has its client."""

    is_ready = False

    async def _poll(self, wait: Wait) -> None:
        if not self.is_ready:
            tell(BEGUN, str(time.time()))
            await self._client(None)
            self.is_ready = True
            tell(READY, str(time.time()))
        await super()._poll(wait)


class Each(DingTalkMessageTrigger):
    """The same trigger with its own connection look-up, as in most providers."""

    client: Any = None

    async def _poll(self, wait: Wait) -> None:
        if self.client is None:
            tell(BEGUN, str(time.time()))
            self.client = await DingTalkHook(self.dingtalk_conn_id).aclient()
            tell(READY, str(time.time()))
        await wait.poll(self.client)
