"""Process that calls a sandbox under the shared rate limit: ``pace_worker URL FOLDER RATE CALLS KEY``.

With ``hang`` instead of CALLS it acquires permits and never releases them. The module also has helpers for tests
of the shared rate limit.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

from airflow_provider_dingtalk.client.clock import Clock
from airflow_provider_dingtalk.client.endpoints import QueryGroupMessage
from airflow_provider_dingtalk.client.rate_limit.limiter import RateLimiter
from tests.support.fake_servers import QUERY, open_client

APP = "the app"


def limiter(folder: Path, rate: float, clock: Clock | None = None) -> RateLimiter:
    """Return one process's limiter of the app."""
    return RateLimiter(rate, clock, folder=folder, app=APP)


def only_file(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


async def calls(limited: RateLimiter, number: int) -> None:
    for _ in range(number):
        async with limited.permit(QUERY.name):
            pass


async def main(url: str, folder: str, rate: str, number: str, key: str) -> None:
    limited = limiter(Path(folder), float(rate))
    if number == "hang":
        async with AsyncExitStack() as stack:
            for _ in range(int(rate)):
                await stack.enter_async_context(limited.permit(QUERY.name))
            print("taken", flush=True)
            await asyncio.Event().wait()
    query = QueryGroupMessage(
        process_query_key=key, open_conversation_id=QUERY.open_conversation_id, robot_code=QUERY.robot_code
    )
    used: Counter[str] = Counter()
    async with open_client(url, limiter=limited) as client:
        await client.authenticate()
        print("ready", flush=True)
        sys.stdin.readline()
        await asyncio.gather(*(client.call(query, used) for _ in range(int(number))))
    print(used[query.name], used["throttled"], flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
