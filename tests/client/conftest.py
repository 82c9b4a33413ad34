"""Fixture: a virtual clock."""

from __future__ import annotations

import pytest

from tests.clock import VirtualClock


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()
