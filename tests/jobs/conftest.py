"""Fixtures: an in-process sandbox with a virtual clock for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_dingtalk.sandbox.testing import running_sandbox
from tests.support.local_dingtalk import LocalDingTalk


@pytest.fixture
def anyio_backend() -> str:
    """The package is written for asyncio."""
    return "asyncio"


@pytest.fixture
def dingtalk() -> LocalDingTalk:
    """An empty sandbox in this process."""
    return LocalDingTalk()


@pytest.fixture
def real_dingtalk() -> Iterator[LocalDingTalk]:
    """The same behind a real socket, where connections really break."""
    local = LocalDingTalk()
    with running_sandbox(local.state) as server:
        local.url = server.url
        yield local
