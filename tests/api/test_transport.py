"""Lanes: connections side by side, each for one call at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from airflow_provider_dingtalk.api.transport import Lanes

pytestmark = pytest.mark.anyio


class Lane(httpx.AsyncBaseTransport):
    """A connection that cannot serve two at once."""

    def __init__(self, lanes: list[Lane]) -> None:
        self.is_busy = self.is_closed = False
        self.served = 0
        lanes.append(self)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert not self.is_busy
        self.is_busy = True
        self.served += 1
        try:
            await asyncio.sleep(0)
            if request.url.path == "/fails":
                raise httpx.ReadError("cut")
        except BaseException:
            self.is_busy = False
            raise
        return httpx.Response(200, stream=Body(self._over))

    def _over(self) -> None:
        self.is_busy = False

    async def aclose(self) -> None:
        self.is_closed = True


class Body(httpx.AsyncByteStream):
    def __init__(self, over: Callable[[], None]) -> None:
        self.over = over

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in (b"all ", b"well"):
            await asyncio.sleep(0)
            yield part

    async def aclose(self) -> None:
        self.over()


@pytest.fixture
def made() -> list[Lane]:
    return []


@pytest.fixture
def lanes(made: list[Lane]) -> Lanes:
    return Lanes(lambda: Lane(made))


async def call(lanes: Lanes, path: str = "/") -> bytes:
    response = await lanes.handle_async_request(httpx.Request("GET", f"http://127.0.0.1{path}"))
    try:
        return b"".join([part async for part in response.stream])  # type: ignore[union-attr]
    finally:
        await response.aclose()


async def test_calls_in_a_row_share_one_connection(lanes: Lanes, made: list[Lane]) -> None:
    assert [await call(lanes) for _ in range(5)] == [b"all well"] * 5
    assert [lane.served for lane in made] == [5]


async def test_there_are_as_many_as_calls_at_once_and_each_has_its_own(lanes: Lanes, made: list[Lane]) -> None:
    for _ in range(3):
        assert await asyncio.gather(*(call(lanes) for _ in range(7))) == [b"all well"] * 7
    assert len(made) == 7
    assert not any(lane.is_busy for lane in made)


async def test_the_one_used_last_is_used_first(lanes: Lanes, made: list[Lane]) -> None:
    await asyncio.gather(*(call(lanes) for _ in range(3)))
    served = [lane.served for lane in made]
    for _ in range(10):
        await call(lanes)
    assert sorted(lane.served - before for lane, before in zip(made, served, strict=True)) == [0, 0, 10]


async def test_a_connection_is_free_again_after_a_failure(lanes: Lanes, made: list[Lane]) -> None:
    for _ in range(3):
        with pytest.raises(httpx.ReadError):
            await call(lanes, "/fails")
    assert await call(lanes) == b"all well"
    assert len(made) == 1


@pytest.mark.parametrize("steps", range(1, 6))
async def test_a_connection_is_free_again_after_a_cancelled_call(
    lanes: Lanes, made: list[Lane], steps: int
) -> None:
    calling = asyncio.ensure_future(call(lanes))
    for _ in range(steps):
        await asyncio.sleep(0)
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    assert await call(lanes) == b"all well"
    assert len(made) == 1


async def test_an_answer_that_is_not_closed_keeps_its_connection(lanes: Lanes, made: list[Lane]) -> None:
    open_one = await lanes.handle_async_request(httpx.Request("GET", "http://127.0.0.1/"))
    await call(lanes)
    assert len(made) == 2
    await open_one.aclose()
    await call(lanes)
    assert len(made) == 2


async def test_all_are_closed_at_the_end(lanes: Lanes, made: list[Lane]) -> None:
    await asyncio.gather(*(call(lanes) for _ in range(3)))
    await lanes.aclose()
    assert [lane.is_closed for lane in made] == [True] * 3
