"""Messages that cannot be recalled, and transports with faults of their own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import httpx
from msgspec.structs import replace

from airflow_provider_dingtalk.messages.read_status import GIVE_UP_AFTER
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt, iso
from airflow_provider_dingtalk.sandbox.default import OTHER_ROBOT_CODE
from airflow_provider_dingtalk.sandbox.faults import PoisonKeys, Rule
from airflow_provider_dingtalk.sandbox.orders import Plant, plant
from tests.faults.fixtures import Stage
from tests.faults.scheme import ONE_IN, RECALLS, ROBOTS
from tests.support.local_dingtalk import HOUR, receipt_for


def with_poison(code: str, share: float = 0.015) -> Callable[[Stage, int], list[Receipt]]:
    """Return a function that makes messages, some of which have their whole batch refused."""

    def prepare(stage: Stage, keys: int) -> list[Receipt]:
        receipts = stage.plant_mixture(dict(ROBOTS), keys)
        bad = [receipt.key for receipt in receipts[: max(1, round(keys * share))]]
        stage.world.rng.shuffle(receipts)
        stage.bad_keys = frozenset(bad)
        stage.world.faults.add(Rule(match=RECALLS, action=PoisonKeys(keys=bad, code=code)))
        return receipts

    return prepare


def with_strangers(share: float) -> Callable[[Stage, int], list[Receipt]]:
    """Return a function that makes messages, a share of which are another robot's."""

    def prepare(stage: Stage, keys: int) -> list[Receipt]:
        foreign = max(1, round(keys * share))
        receipts = stage.plant_mixture(dict(ROBOTS), keys - foreign)
        others = plant(stage.world, Plant(kind="oto", count=foreign, robot_code=OTHER_ROBOT_CODE))["keys"]
        stage.bad_keys = frozenset(map(str, others))
        receipts += [receipt_for(Kind.OTO, key) for key in others]
        stage.world.rng.shuffle(receipts)
        return receipts

    return prepare


def of_many_ages(skew: float) -> Callable[[Stage, int], list[Receipt]]:
    """Return a function that makes messages about 24 h old, dated by a clock off by ``skew`` seconds."""

    def prepare(stage: Stage, keys: int) -> list[Receipt]:
        few = keys // 20
        receipts = stage.plant(Kind.OTO, few, age=24 * HOUR - 60)
        receipts += stage.plant(Kind.OTO, few, age=24 * HOUR + 300)
        receipts += stage.plant(Kind.OTO, few, age=24 * HOUR + 300, dated=False)
        receipts += stage.plant(Kind.OTO, keys // 4, age=GIVE_UP_AFTER + 700)
        receipts += stage.plant(Kind.WORK_NOTIFICATION, few // 10, age=GIVE_UP_AFTER + 700)
        receipts += stage.plant(Kind.WORK_NOTIFICATION, few // 10, age=24 * HOUR + 300)
        receipts += stage.plant(Kind.GROUP, few, age=1000 * HOUR)
        receipts += stage.plant(Kind.OTO, keys - len(receipts), age=HOUR)
        stage.bad_keys = frozenset(receipt.key for receipt in receipts if _age(stage, receipt) > 24 * HOUR)
        stage.world.rng.shuffle(receipts)
        return [_redated(receipt, skew) for receipt in receipts]

    return prepare


def that_expire_on_the_way(stage: Stage, keys: int) -> list[Receipt]:
    """Make messages, some of which expire while DingTalk throttles all calls."""
    receipts = stage.plant(Kind.OTO, keys // 2, age=24 * HOUR - 20)
    receipts += stage.plant(Kind.OTO, keys - len(receipts), age=HOUR)
    stage.world.rng.shuffle(receipts)
    return receipts


def _age(stage: Stage, receipt: Receipt) -> float:
    message = stage.message(receipt)
    assert message is not None
    return stage.world.age(message) if receipt.kind in (Kind.OTO, Kind.WORK_NOTIFICATION) else 0.0


def _redated(receipt: Receipt, skew: float) -> Receipt:
    sent = receipt.sent()
    return receipt if sent is None else replace(receipt, sent_at=iso(sent + skew))


class Striking(httpx.AsyncBaseTransport):
    """Transport that hits one random recall of each block of ``one_in``."""

    def __init__(self, stage: Stage, rng: random.Random, one_in: int = ONE_IN) -> None:
        self._way = stage.way()
        self._rng = rng
        self._one_in = one_in
        self._next = 0
        self.seen = 0
        self.struck = 0
        #: Number of requests that were answered here and not forwarded.
        self.intercepted = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if RECALLS in request.url.path and self._is_next() and (answer := self.strike(request)):
            self.struck += 1
            self.intercepted += 1
            return answer
        return await self._way.handle_async_request(request)

    def strike(self, request: httpx.Request) -> httpx.Response | None:
        """Return the answer instead of DingTalk's, or None to forward the request."""
        raise NotImplementedError

    def _is_next(self) -> bool:
        number, self.seen = self.seen, self.seen + 1
        if number % self._one_in == 0:
            self._next = number + self._rng.randrange(self._one_in)
        return number == self._next


class Unreliable(Striking):
    """Transport on which some requests get no connection: refused, or an unknown host name."""

    PROBLEMS = ("[Errno 111] Connection refused", "[Errno -2] Name or service not known")

    def strike(self, request: httpx.Request) -> httpx.Response:
        self.struck += 1
        raise httpx.ConnectError(self._rng.choice(self.PROBLEMS), request=request)


class DeadTokens(Striking):
    """Transport on which some tokens are dead; a call that was refused once is forwarded."""

    def __init__(self, stage: Stage, rng: random.Random) -> None:
        super().__init__(stage, rng)
        self._refused: set[bytes] = set()

    def strike(self, request: httpx.Request) -> httpx.Response | None:
        if request.content in self._refused:
            return None
        self._refused.add(request.content)
        return httpx.Response(400, json={"code": "InvalidAuthentication", "message": "不合法的access_token"})


class Unhurried:
    """Clock of the stage whose sleeps also take real time."""

    def __init__(self, stage: Stage) -> None:
        self.now = stage.clock.now
        self.monotonic = stage.clock.monotonic
        self._clock = stage.clock

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._clock.advance(seconds)
