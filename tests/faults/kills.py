"""Kill harness: SIGKILL at 50 random times and 9 named points under each fault, for recalls and sends.

``python -m tests.faults.kills [--seed N] [--kills N] [--fast]`` prints a line for each fault and one of figures.
The process that forks has no threads and everything imported; the sandbox runs in its own process.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from typing import Any

import tests.conftest  # noqa: F401 -- sets Airflow's surroundings before it is imported
from tests.faults.crash_points import Point
from tests.faults.kill_faults import RECALL_FAULTS, SEND_FAULTS, KillFault
from tests.faults.kill_places import unreliable_places
from tests.faults.kill_proxy import bad_proxy
from tests.faults.kill_recalls import KILLS_PER_RUN, NAMED_RUNS, RecallRun, Tally, recall_twice_at_once
from tests.faults.kill_sandbox import SandboxProcess
from tests.faults.kill_sends import KILLS_PER_RUN as KILLS_PER_SEND
from tests.faults.kill_sends import SendRun, cleared, send_twice_at_once, skipping
from tests.faults.unreliable import PLACES

#: Number of random kills under each fault.
KILLS = 50
#: Recipients of the longest send.
MANY_USERS = 2000
#: Maximum number of runs, in multiples of the runs needed. More are not begun, because kills then miss the middle.
REDRAWS = 3
CALM = KillFault(name="no fault")
#: Figures that must be 0.
NEVER = ("lost", "double", "false_recalled", "false_failed")

Part = tuple[str, Tally]


class Rngs:
    """Factory of random generators for runs, all from one seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._number = count()

    def __call__(self) -> random.Random:
        return random.Random(f"{self._seed}/{next(self._number)}")


def recalls_under(sandbox: SandboxProcess, fault: KillFault, rngs: Rngs, kills: int) -> Tally:
    """Kill recalls at all named points and ``kills`` random times; repeat those that miss the middle."""
    total = Tally()
    for points in NAMED_RUNS:
        for _ in range(REDRAWS):
            total.add(RecallRun(sandbox, fault, rngs()).with_named_kills(points))
            if set(points) <= set(total.points):
                break
    missed = set(Point) - set(total.points)
    total.must(not missed, f"no kill in the middle {', '.join(sorted(missed))}")
    at_random = Tally()
    for _ in range(REDRAWS * kills // KILLS_PER_RUN + 1):
        if at_random.kills >= kills:
            break
        missing = min(KILLS_PER_RUN, kills - at_random.kills)
        at_random.add(RecallRun(sandbox, fault, rngs()).with_random_kills(missing))
    at_random.must(at_random.kills >= kills, f"only {at_random.kills} random kills landed in the middle")
    total.add(at_random)
    total.must(total.unknown == 0, f"{total.unknown} unknown, although all can be asked")
    _must_hit(fault, total)
    return total


def sends_under(sandbox: SandboxProcess, fault: KillFault, rngs: Rngs, kills: int) -> Tally:
    """Kill sends in the same way, also with messages in doubt sent again."""
    total = SendRun(sandbox, fault, rngs()).with_kills(tuple(Point), kills)
    resent = SendRun(sandbox, fault, rngs()).with_kills((), kills // 2, on_unknown_send="resend")
    total.add(resent)
    _must_hit(fault, total)
    return total


def _must_hit(fault: KillFault, tally: Tally) -> None:
    often = not fault.rules or tally.hits * 10 >= tally.looked_at
    tally.must(often, f"the fault hit {tally.hits} of {tally.looked_at} calls only")


def parts(sandbox: SandboxProcess, seed: int, kills: int, sends: int, users: int) -> Iterator[Part]:
    """Run all parts, one after the other."""
    rngs = Rngs(seed)
    for fault in RECALL_FAULTS:
        yield f"recall: {fault.name}", recalls_under(sandbox, fault, rngs, kills)
    for fault in SEND_FAULTS:
        yield f"send: {fault.name}", sends_under(sandbox, fault, rngs, sends)
    many = SendRun(sandbox, CALM, rngs(), users).with_kills(tuple(Point), kills)
    yield f"send: {users} people", many
    yield from special(sandbox, rngs)


def special(sandbox: SandboxProcess, rngs: Rngs) -> Iterator[Part]:
    """Run two tries at once, failing stores, and the policies of sends."""
    yield "recall: two tries at once", recall_twice_at_once(sandbox, rngs())
    for places in PLACES[1:]:
        run = RecallRun(sandbox, CALM, rngs(), places=places)
        yield f"recall: {' and '.join(places)} fails", run.with_random_kills(KILLS_PER_RUN)
    yield "send: two tries at once", send_twice_at_once(sandbox, rngs())
    yield "send: on_unknown_send=skip", skipping(sandbox, rngs())
    for places in PLACES:
        yield (
            f"send: lists vary, {' and '.join(places) or 'no place'} fails",
            unreliable_places(sandbox, rngs(), places),
        )
    for policy in ("fail", "resend", "keep"):
        yield f"send: on_cleared_send={policy}", cleared(sandbox, rngs(), policy)


def fast_parts(sandbox: SandboxProcess, seed: int) -> Iterator[Part]:
    """Run a short version: each named point under two faults, ten random kills, sends."""
    rngs = Rngs(seed)
    by_name = {fault.name: fault for fault in RECALL_FAULTS}
    for name in ("drop after", "partly failed"):
        yield f"recall: {name}", recalls_under(sandbox, by_name[name], rngs, 5)
    drop_after = next(fault for fault in SEND_FAULTS if fault.name == "drop after")
    yield "send: drop after", sends_under(sandbox, drop_after, rngs, 5)
    yield from special(sandbox, rngs)


def proxy_parts(sandbox: SandboxProcess, seed: int) -> Iterator[Part]:
    """Run a short version behind a bad proxy: each named point and five random kills of a recall."""
    drop_after = next(fault for fault in RECALL_FAULTS if fault.name == "drop after")
    yield "recall: drop after, bad proxy", recalls_under(sandbox, drop_after, Rngs(seed), 5)


def forgetful_parts(sandbox: SandboxProcess, seed: int) -> Iterator[Part]:
    """Run a checkpoint without intents under the same assertions, which it must not pass."""
    rngs = Rngs(seed)
    closing = next(fault for fault in RECALL_FAULTS if fault.jump)
    run = RecallRun(sandbox, closing, rngs(), forgetful=True)
    yield "recall without intents", run.with_named_kills(NAMED_RUNS[1])
    points = (Point.AFTER_EFFECT, Point.AFTER_ANSWER)
    yield "send without intents", SendRun(sandbox, CALM, rngs(), 60).with_kills(points, 0, forgetful=True)


def figures(done: list[Part], seconds: float, seed: int) -> dict[str, Any]:
    """Return the sum of all parts as figures."""
    total = Tally()
    for _, tally in done:
        total.add(tally)
    numbers = {name: getattr(total, name) for name in NUMBERS}
    return {
        **numbers,
        "faults": sum(bool(tally.hits) for _, tally in done),
        "points": {point.value: total.points.count(point) for point in Point},
        "wrong": [f"{name}: {what}" for name, tally in done for what in problems(tally)],
        "seconds": round(seconds, 1),
        "seed": seed,
    }


NUMBERS = ("kills", "uncounted", "keys", *NEVER, "unknown", "resent", "calls", "batches", "hits")


def problems(tally: Tally) -> list[str]:
    """List what is wrong with a part, with figures that must be 0."""
    return tally.wrong + [f"{name} {getattr(tally, name)}" for name in NEVER if getattr(tally, name)]


def line(name: str, tally: Tally, seconds: float) -> str:
    """Return a part as a line of text."""
    shares = f"{min(tally.shares):.0%}-{max(tally.shares):.0%}" if tally.shares else "-"
    hit = f"{tally.hits / tally.looked_at:.0%}" if tally.looked_at else "-"
    numbers = "  ".join(f"{what} {getattr(tally, what)}" for what in (*NEVER, "unknown", "resent"))
    return (
        f"{name:32} {tally.kills:3} kills at {shares:8} hit {hit:4} {numbers}  "
        f"calls {tally.calls} for {tally.batches}  {seconds:.1f} s"
        + "".join(f"\n    {what}" for what in problems(tally))
    )


def _play(
    seed: int,
    of: Callable[[SandboxProcess], Iterator[Part]],
    say: Callable[[str], None],
    behind: Callable[[str, int], AbstractContextManager[None]] = lambda *_: nullcontext(),
) -> dict[str, Any]:
    logging.disable(logging.CRITICAL)
    gc.freeze()  # otherwise reference counts would make each child copy the memory
    begun = last = time.monotonic()
    done: list[Part] = []
    try:
        with SandboxProcess(seed) as sandbox, behind(sandbox.url, seed):
            for name, tally in of(sandbox):
                done.append((name, tally))
                say(line(name, tally, time.monotonic() - last))
                last = time.monotonic()
    finally:
        gc.unfreeze()
        logging.disable(logging.NOTSET)
    return figures(done, time.monotonic() - begun, seed)


def run_all(
    seed: int,
    kills_per_fault: int = KILLS,
    say: Callable[[str], None] = lambda _: None,
    behind: Callable[[str, int], AbstractContextManager[None]] = lambda *_: nullcontext(),
) -> dict[str, Any]:
    """Run all parts and return the figures; ``wrong`` must be empty.

    :param kills_per_fault: Random kills in recalls under each fault, besides the named points; default 50.
    :param say: Called with a line about each part; default prints nothing.
    :param behind: Context manager of a proxy between the tries and the sandbox; default none.
    """
    return _play(seed, lambda sandbox: parts(sandbox, seed, kills_per_fault, KILLS_PER_SEND, MANY_USERS), say, behind)


def main(argv: list[str] | None = None) -> int:
    """Run the kill harness and return 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kills", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=KILLS, help="random kills under each fault")
    parser.add_argument("--fast", action="store_true", help="what is part of make test")
    parser.add_argument("--proxy", action="store_true", help="through a CONNECT proxy that misbehaves")
    parser.add_argument("--forgetful", action="store_true", help="a checkpoint without intents, to see it caught")
    options = parser.parse_args(argv)
    behind = bad_proxy if options.proxy else lambda *_: nullcontext()
    if options.fast:
        brief = proxy_parts if options.proxy else fast_parts
        result = _play(options.seed, lambda sandbox: brief(sandbox, options.seed), print, behind)
    elif options.forgetful:
        result = _play(options.seed, lambda sandbox: forgetful_parts(sandbox, options.seed), print)
    else:
        result = run_all(options.seed, options.kills, lambda text: print(text, flush=True), behind)
    print(json.dumps(result))
    return bool(result["wrong"])


if __name__ == "__main__":
    sys.exit(main())
