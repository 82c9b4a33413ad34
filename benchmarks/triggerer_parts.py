"""What runs inside the triggerer for row ``triggerer``: triggers that tell when they are ready."""

from __future__ import annotations

import time
from typing import Any

from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.messaging.waiting import Wait
from airflow_provider_dingtalk.triggers import DingTalkMessageTrigger
from benchmarks.counting import BEGUN, READY, tell


class Shared(DingTalkMessageTrigger):
    """Ours, as it is: it says when it has its client for the first time."""

    is_ready = False

    async def _look(self, wait: Wait) -> None:
        if not self.is_ready:
            tell(BEGUN, str(time.time()))
            await self._client(None)
            self.is_ready = True
            tell(READY, str(time.time()))
        await super()._look(wait)


class Each(DingTalkMessageTrigger):
    """The same with a look-up of its own, as triggers usually do."""

    client: Any = None

    async def _look(self, wait: Wait) -> None:
        if self.client is None:
            tell(BEGUN, str(time.time()))
            self.client = await DingTalkHook(self.dingtalk_conn_id).aclient()
            tell(READY, str(time.time()))
        await wait.look(self.client)
