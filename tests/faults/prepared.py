"""Messages that cannot be recalled, and transports with faults of their own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import httpx
from msgspec.structs import replace

from airflow_provider_dingtalk.messages.read_status import GIVE_UP_AFTER
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt, iso
from airflow_provider_dingtalk.sandbox.control_requests import CreateMessages, create_messages
from airflow_provider_dingtalk.sandbox.default import OTHER_ROBOT_CODE
from airflow_provider_dingtalk.sandbox.faults import PoisonKeys, Rule
from tests.faults.fixtures import CanarySandbox
from tests.faults.scheme import ONE_IN, RECALLS, ROBOTS
from tests.support.local_dingtalk import HOUR, receipt_for


def with_poison(code: str, share: float = 0.015) -> Callable[[CanarySandbox, int], list[Receipt]]:
    """Return a function that makes messages, some of which have their whole batch refused."""

    def prepare(sandbox: CanarySandbox, keys: int) -> list[Receipt]:
        receipts = sandbox.plant_mixture(dict(ROBOTS), keys)
        bad = [receipt.key for receipt in receipts[: max(1, round(keys * share))]]
        sandbox.state.rng.shuffle(receipts)
        sandbox.bad_keys = frozenset(bad)
        sandbox.state.faults.add(Rule(match=RECALLS, action=PoisonKeys(keys=bad, code=code)))
        return receipts

    return prepare


def with_strangers(share: float) -> Callable[[CanarySandbox, int], list[Receipt]]:
    """Return a function that makes messages, a share of which are another robot's."""

    def prepare(sandbox: CanarySandbox, keys: int) -> list[Receipt]:
        foreign = max(1, round(keys * share))
        receipts = sandbox.plant_mixture(dict(ROBOTS), keys - foreign)
        request = CreateMessages(kind="oto", count=foreign, robot_code=OTHER_ROBOT_CODE)
        others = create_messages(sandbox.state, request)["keys"]
        sandbox.bad_keys = frozenset(map(str, others))
        receipts += [receipt_for(Kind.OTO, key) for key in others]
        sandbox.state.rng.shuffle(receipts)
        return receipts

    return prepare


def of_many_ages(skew: float) -> Callable[[CanarySandbox, int], list[Receipt]]:
    """Return a function that makes messages about 24 h old, dated by a clock off by ``skew`` seconds."""

    def prepare(sandbox: CanarySandbox, keys: int) -> list[Receipt]:
        few = keys // 20
        receipts = sandbox.create_messages(Kind.OTO, few, age=24 * HOUR - 60)
        receipts += sandbox.create_messages(Kind.OTO, few, age=24 * HOUR + 300)
        receipts += sandbox.create_messages(Kind.OTO, few, age=24 * HOUR + 300, dated=False)
        receipts += sandbox.create_messages(Kind.OTO, keys // 4, age=GIVE_UP_AFTER + 700)
        receipts += sandbox.create_messages(Kind.WORK_NOTIFICATION, few // 10, age=GIVE_UP_AFTER + 700)
        receipts += sandbox.create_messages(Kind.WORK_NOTIFICATION, few // 10, age=24 * HOUR + 300)
        receipts += sandbox.create_messages(Kind.GROUP, few, age=1000 * HOUR)
        receipts += sandbox.create_messages(Kind.OTO, keys - len(receipts), age=HOUR)
        sandbox.bad_keys = frozenset(receipt.key for receipt in receipts if _age(sandbox, receipt) > 24 * HOUR)
        sandbox.state.rng.shuffle(receipts)
        return [_redated(receipt, skew) for receipt in receipts]

    return prepare


def that_expire_on_the_way(sandbox: CanarySandbox, keys: int) -> list[Receipt]:
    """Make messages, some of which expire while DingTalk throttles all calls."""
    receipts = sandbox.create_messages(Kind.OTO, keys // 2, age=24 * HOUR - 20)
    receipts += sandbox.create_messages(Kind.OTO, keys - len(receipts), age=HOUR)
    sandbox.state.rng.shuffle(receipts)
    return receipts


def _age(sandbox: CanarySandbox, receipt: Receipt) -> float:
    message = sandbox.message(receipt)
    assert message is not None
    return sandbox.state.age(message) if receipt.kind in (Kind.OTO, Kind.WORK_NOTIFICATION) else 0.0


def _redated(receipt: Receipt, skew: float) -> Receipt:
    sent = receipt.sent()
    return receipt if sent is None else replace(receipt, sent_at=iso(sent + skew))


class FaultyTransport(httpx.AsyncBaseTransport):
    """Transport that hits one random recall of each block of ``one_in``."""

    def __init__(self, sandbox: CanarySandbox, rng: random.Random, one_in: int = ONE_IN) -> None:
        self._way = sandbox.way()
        self._rng = rng
        self._one_in = one_in
        self._next = 0
        self.seen = 0
        self.hits = 0
        #: Number of requests that were answered here and not forwarded.
        self.intercepted = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if RECALLS in request.url.path and self._is_next() and (answer := self.apply(request)):
            self.hits += 1
            self.intercepted += 1
            return answer
        return await self._way.handle_async_request(request)

    def apply(self, request: httpx.Request) -> httpx.Response | None:
        """Return the answer instead of DingTalk's, or None to forward the request."""
        raise NotImplementedError

    def _is_next(self) -> bool:
        number, self.seen = self.seen, self.seen + 1
        if number % self._one_in == 0:
            self._next = number + self._rng.randrange(self._one_in)
        return number == self._next


class Unreliable(FaultyTransport):
    """Transport on which some requests get no connection: refused, or an unknown host name."""

    PROBLEMS = ("[Errno 111] Connection refused", "[Errno -2] Name or service not known")

    def apply(self, request: httpx.Request) -> httpx.Response:
        self.hits += 1
        raise httpx.ConnectError(self._rng.choice(self.PROBLEMS), request=request)


class DeadTokens(FaultyTransport):
    """Transport on which some tokens are dead; a call that was refused once is forwarded."""

    def __init__(self, sandbox: CanarySandbox, rng: random.Random) -> None:
        super().__init__(sandbox, rng)
        self._refused: set[bytes] = set()

    def apply(self, request: httpx.Request) -> httpx.Response | None:
        if request.content in self._refused:
            return None
        self._refused.add(request.content)
        return httpx.Response(400, json={"code": "InvalidAuthentication", "message": "不合法的access_token"})


class Unhurried:
    """Clock of the sandbox whose sleeps also take real time."""

    def __init__(self, sandbox: CanarySandbox) -> None:
        self.now = sandbox.clock.now
        self.monotonic = sandbox.clock.monotonic
        self._clock = sandbox.clock

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._clock.advance(seconds)
