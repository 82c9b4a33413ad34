"""Sends that are killed repeatedly: no message is lost, and none is sent twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count
from random import Random
from typing import Any

from airflow_provider_dingtalk.messages.message_types import send_requests_for
from airflow_provider_dingtalk.messages.receipt import Receipt
from airflow_provider_dingtalk.messages.receipt_parser import parse_receipts
from airflow_provider_dingtalk.messages.send_request import SendRequest
from airflow_provider_dingtalk.sandbox.default import ROBOT_CODE
from airflow_provider_dingtalk.task.xcoms import RECEIPTS, RECEIPTS_LATE, UNKNOWN
from tests.faults.crash_points import Point
from tests.faults.kill_faults import SEND, KillFault
from tests.faults.kill_proxy import is_behind_proxy
from tests.faults.kill_recalls import DEAD_TOKEN, MAX_TRIES, Tally, task_of
from tests.faults.kill_sandbox import SEND_API, SandboxProcess
from tests.faults.kill_tries import Task, recalling, sending, wait_for

#: Recipients of one send, with one call each.
USERS = 500
KILLS_PER_RUN = 10
SPREAD = 0.004
#: Maximum calls in doubt after a kill; fewer than usual, so that enough messages are left for all kills.
IN_DOUBT = 6


def letters_to(users: int) -> list[SendRequest]:
    """Return send requests to users, each with its own text, by which the sandbox's messages are identified."""
    return [
        send_request
        for number in range(1, users + 1)
        for send_request in send_requests_for("oto", user_ids=[user(number)], robot_code=ROBOT_CODE, text=user(number))
    ]


def user(number: int) -> str:
    """Return the id of a user of the sandbox."""
    return f"user{number:03d}"


class SendRun:
    """One send under one fault."""

    def __init__(self, sandbox: SandboxProcess, fault: KillFault, rng: Random, users: int = USERS) -> None:
        self._sandbox = sandbox
        self._rng = rng
        self.fault = fault
        self.send_requests = letters_to(users)
        sandbox.reset(rng)
        sandbox.tell("POST", "/people", {"count": users})
        sandbox.faults(*fault.rules)
        self.tally = Tally(keys=users, batches=users)

    def with_kills(self, points: Sequence[Point], kills: int, *, forgetful: bool = False, **policy: Any) -> Tally:
        """Kill it at named points and random times in turn, run it to the end, and roll it back."""
        plan: list[Point | None] = [*points, *[None] * kills]
        self._rng.shuffle(plan)
        # The segment boundary is at the end of the first row, so it comes early. A try killed before success has
        # sent everything, so that point comes last.
        plan.sort(key=lambda point: (point is Point.BEFORE_SUCCESS, point is not Point.SEGMENT_BOUNDARY))
        with task_of(self._sandbox, sending(self.send_requests, IN_DOUBT, **policy), forgetful=forgetful) as task:
            for point, moment in zip(plan, sorted(self._rng.uniform(0.06, 0.85) for _ in plan), strict=True):
                self._kill(task, point, moment)
            end = self.run_to_the_end(task)
            self._check(task, end, resends=policy.get("on_unknown_send") == "resend")
            self._roll_back(pushed(task), unknown_of(task))
        return self.tally

    def _kill(self, task: Task, point: Point | None, moment: float) -> None:
        todo = len(self.send_requests) - task.spent("begun")
        calls = max(1, min(int((moment - self.share()) * len(self.send_requests)), todo // 4))
        if point is None:
            if not task.kill_somewhere(calls, self._rng, SPREAD):
                return
        elif not self._dies_at(task, point, 0 if point is Point.BEFORE_SUCCESS else calls):
            self.tally.must(False, f"{point} was not reached")
            return
        self.tally.killed(self.share(), point or "")

    def _dies_at(self, task: Task, point: Point, calls: int) -> bool:
        """Kill it at a named point; once more if a fault ended the try before."""
        for _ in range(MAX_TRIES):
            if task.kill_at(point, calls):
                return True
            end = task.end()
            if end["code"] in DEAD_TOKEN:
                task.clear()
            elif end["state"] != "up_for_retry":
                return False
            calls = 0
        return False

    def share(self) -> float:
        """Return the share of sent messages."""
        return self._sandbox.share("oto", "sent", len(self.send_requests))

    def run_to_the_end(self, task: Task) -> dict[str, Any]:
        """Run tries until the task succeeds, or fails with nothing left to begin; clear it if it was stopped."""
        end: dict[str, Any] = {"state": "never", "code": ""}
        for _ in range(MAX_TRIES):
            end = task.run()
            if end["state"] == "success" or (end["state"] == "failed" and end["code"] not in DEAD_TOKEN):
                return end
            if end["state"] == "failed":
                task.clear()
        self.tally.must(False, f"no end after {MAX_TRIES} tries: {end}")
        return end

    def _check(self, task: Task, end: Mapping[str, Any], *, resends: bool) -> None:
        tally, sent = self.tally, self._sandbox.messages()
        unknown, keys = unknown_of(task), {receipt.key for receipt in pushed(task)}
        copies = Counter(message["text"] for message in sent)
        twice = sum(number - 1 for number in copies.values())
        orphans = [one for one in sent if one["key"] not in keys and one["text"] not in unknown]
        silent = {send_request.to[0] for send_request in self.send_requests} - set(copies) - unknown
        tally.unknown += len(unknown)
        hits, seen = self._sandbox.hits()
        kills = tally.kills + tally.uncounted
        blind = "throttled" not in self.fault.name and "token" not in self.fault.name
        doubtful = kills * IN_DOUBT + (hits if blind else 0)
        tally.must(len(keys) == len(pushed(task)), "a receipt is there twice")
        tally.must(keys <= {one["key"] for one in sent}, "a receipt of nothing")
        tally.must(not silent, f"{len(silent)} people were forgotten")
        tally.must(end["state"] == ("failed" if unknown else "success"), f"{len(unknown)} unknown, and {end}")
        if resends:
            tally.resent += twice
            tally.must(not unknown, f"{len(unknown)} are unknown, and should have been sent again")
            tally.must(twice <= doubtful, f"{twice} were sent again, of at most {doubtful}")
            tally.must(len(orphans) <= twice, f"{len(orphans)} messages without a word")
        else:
            tally.double += twice
            tally.lost += len(orphans)
            is_bounded = is_behind_proxy() or len(unknown) <= doubtful
            tally.must(is_bounded, f"{len(unknown)} unknown, of at most {doubtful}")
        # A call in flight at a kill may have been throttled before, which its try had no time to count.
        uncounted = 0 if blind else doubtful
        limit = tally.batches + doubtful + uncounted + task.spent("throttled") + self._sandbox.answers(DEAD_TOKEN)
        calls = self._sandbox.calls(SEND_API)
        tally.must(calls <= limit, f"{calls} calls to send, of at most {limit}")
        tally.calls += calls
        tally.hits += hits
        tally.looked_at += seen

    def _roll_back(self, receipts: Sequence[Receipt], unknown: set[str]) -> None:
        """Recall all receipts; only unknown messages may be left."""
        self._sandbox.faults()
        with task_of(self._sandbox, recalling(receipts)) as task:
            for _ in range(MAX_TRIES):
                end = task.run()
                if end["state"] != "up_for_retry":
                    break
        left = [one["text"] for one in self._sandbox.messages() if one["recalled_at"] is None]
        self.tally.must(end["state"] == "success", f"the rollback: {end['state']} {end['code']}")
        mute = [text for text in left if text not in unknown]
        self.tally.must(len(mute) <= self.tally.resent, f"{len(mute)} are left after the rollback")


def pushed(task: Task) -> list[Receipt]:
    """Return the receipts in XComs, as a rollback finds them."""
    chunks = list(iter(partial(next, (task.seen.xcom(RECEIPTS.format(number)) for number in count())), None))
    return parse_receipts([*chunks, task.seen.xcom(RECEIPTS_LATE)])


def unknown_of(task: Task) -> set[str]:
    """Return the users whose sends are unknown in the XCom."""
    return {person for one in task.seen.xcom(UNKNOWN) or [] for person in one["to"]}


# ── Policies ─────────────────────────────────────────────────────────────────────────────────────────


def skipping(sandbox: SandboxProcess, rng: Random, users: int = 60) -> Tally:
    """Check ``on_unknown_send=skip``: the task lists what is unknown and succeeds."""
    run = SendRun(sandbox, KillFault(name="skip"), rng, users)
    with task_of(sandbox, sending(run.send_requests, on_unknown_send="skip")) as task:
        run._kill(task, Point.AFTER_EFFECT, 0.5)
        end = run.run_to_the_end(task)
        run.tally.must(end["state"] == "success", f"skip ended with {end}")
        unknown = len(unknown_of(task))
        run.tally.must(1 <= unknown <= 2 or (is_behind_proxy() and unknown > 1), "skip must list those in flight")
        # The sandbox got one request in flight at the kill, perhaps the other, and none that the proxy cut.
        run.tally.must(users - unknown < sandbox.calls(SEND_API) <= users, "skip sends nothing again")
        run._roll_back(pushed(task), unknown_of(task))
    return run.tally


def cleared(sandbox: SandboxProcess, rng: Random, policy: str, users: int = 60) -> Tally:
    """Check ``on_cleared_send``: after a clear of a finished send no receipt is lost."""
    run = SendRun(sandbox, KillFault(name=f"cleared, {policy}"), rng, users)
    tally = run.tally
    with task_of(sandbox, sending(run.send_requests, on_cleared_send=policy)) as task:
        # A kill later on leaves a doubt, and a send in doubt is not done, so the policy would not matter.
        tally.must(run._dies_at(task, Point.BEFORE_INTENT, 0), "the first try must die")
        first, cut = run.run_to_the_end(task), len(unknown_of(task))
        tally.must(first["state"] == ("failed" if cut else "success"), f"the first run ended with {first}")
        task.clear()
        if policy == "resend":
            tally.must(run._dies_at(task, Point.BEFORE_INTENT, users // 2), "the second run must die half-way")
        end = run.run_to_the_end(task)
        copies, receipts, unknown = (2 if policy == "resend" else 1), pushed(task), unknown_of(task)
        wanted = ("failed", "send_cleared") if policy == "fail" else ("success", "")
        tally.must((end["state"], end["code"]) == wanted or bool(unknown), f"{policy} ended with {end}")
        # Two calls are unknown after the kill, and each that the proxy cut before the sandbox saw it.
        tally.must(is_behind_proxy() or len(unknown) <= 2 * (copies - 1), f"{policy}: {len(unknown)} unknown")
        calls, keys = sandbox.calls(SEND_API), {receipt.key for receipt in receipts}
        is_once = copies * users - len(unknown) <= calls <= copies * users
        tally.must(is_once, f"{policy}: {calls} calls, {len(unknown)} unknown")
        tally.lost += abs(len(keys) + len(unknown) - copies * users)
        run._roll_back(receipts, unknown)
    return tally


def send_twice_at_once(sandbox: SandboxProcess, rng: Random, users: int = USERS) -> Tally:
    """Start a second try while the first lives; the first must begin no calls but those in flight."""
    slow = {"match": SEND, "action": {"type": "delay", "seconds": 0.005}}
    run = SendRun(sandbox, KillFault(name="two at once", rules=(slow,)), rng, users)
    with task_of(sandbox, sending(run.send_requests, IN_DOUBT)) as task:
        loser = task.begin_and_reach(users // 3)
        gauge = task.gauges[-1]
        winner = task.begin()
        wait_for(loser)
        wait_for(winner)
        after_fence = gauge["begun"] - gauge["at_fence"]
        run.tally.must(after_fence <= IN_DOUBT, f"the loser began {after_fence} calls after it was fenced off")
        end = task.end()
        run._check(task, end if end["state"] == "success" else run.run_to_the_end(task), resends=False)
        run._roll_back(pushed(task), unknown_of(task))
    return run.tally
