"""What runs inside the triggerer for row ``triggerer``: triggers that tell when they are ready, and a counter."""

from __future__ import annotations

import os
import time
from typing import Any

from airflow.secrets.base_secrets import BaseSecretsBackend

from airflow_provider_dingtalk.hooks import DingTalkHook
from airflow_provider_dingtalk.messaging.waiting import Wait
from airflow_provider_dingtalk.triggers import DingTalkMessageTrigger

#: Environment variables that name the files in which is written who is ready, and who looked a connection up.
READY, LOOKUPS = "BENCH_READY", "BENCH_LOOKUPS"


def _tell(variable: str, text: str) -> None:
    # Appended in one write: many do so at once.
    fd = os.open(os.environ[variable], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(fd, f"{text}\n".encode())
    finally:
        os.close(fd)


class Shared(DingTalkMessageTrigger):
    """Ours, as it is: it says when it has its client for the first time."""

    is_ready = False

    async def _look(self, wait: Wait) -> None:
        if not self.is_ready:
            await DingTalkHook(self.dingtalk_conn_id).aclient(self._lookup)
            self.is_ready = True
            _tell(READY, str(time.time()))
        await super()._look(wait)


class Each(DingTalkMessageTrigger):
    """The same with a look-up of its own, as triggers usually do."""

    client: Any = None

    async def _look(self, wait: Wait) -> None:
        if self.client is None:
            self.client = await DingTalkHook(self.dingtalk_conn_id).aclient()
            _tell(READY, str(time.time()))
        await wait.look(self.client)


class CountingBackend(BaseSecretsBackend):
    """Has no connection; it writes down that it was asked for one, and by which process."""

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        """Nothing: the next backend has it."""
        _tell(LOOKUPS, f"{os.getpid()} {conn_id}")
        return None
