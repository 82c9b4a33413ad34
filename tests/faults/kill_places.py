"""Sends whose lists vary and whose stores fail between kills.

Each try gets its groups in another order, and most tries only some of them. The task state store, the XComs, or
both fail and stall at random. At the end each accepted message must be in the XComs, or its group among the
unknown. No message may be sent twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from airflow_provider_dingtalk.messages.message_types import send_requests_for
from airflow_provider_dingtalk.sandbox.default import ROBOT_CODE
from tests.faults.kill_recalls import DEAD_TOKEN, Tally, task_of
from tests.faults.kill_sandbox import SandboxProcess
from tests.faults.kill_sends import IN_DOUBT, pushed, unknown_of
from tests.faults.kill_tries import Surroundings, Task, Work, recalling, sending
from tests.faults.unreliable import UnreliableStore, UnreliableXComs

GROUPS = 160
KILLS = 8
SPREAD = 0.004
#: Maximum tries after the last kill; a store that fails at an intent ends a try.
MOST_TRIES = 60
#: Body of the control request that creates a group.
CONVERSATION = {"kind": "group", "robots": [ROBOT_CODE], "members": ["user001"]}


def sending_lists(groups: Sequence[str], seed: str, whole_from: int, places: Sequence[str]) -> Work:
    """Return the work of a task whose list differs at each try.

    :param whole_from: Number of the first try that gets all groups.
    :param places: Stores that fail: ``store``, ``xcom``.
    """

    def work(around: Surroundings) -> Mapping[str, Any]:
        number = around.task.try_number
        rng = Random(f"{seed}/{number}")
        chosen = list(groups) if number >= whole_from else rng.sample(groups, rng.randrange(1, len(groups)))
        rng.shuffle(chosen)
        if "store" in places:
            around.store = UnreliableStore(around.store, rng)  # type: ignore[assignment]
        if "xcom" in places:
            around.task.push_by(lambda push: UnreliableXComs(push, rng))
        send_requests = send_requests_for("group", open_conversation_id=chosen, robot_code=ROBOT_CODE, text="hello")
        return sending(send_requests, IN_DOUBT)(around)

    return work


def unreliable_places(sandbox: SandboxProcess, rng: Random, places: Sequence[str], groups: int = GROUPS) -> Tally:
    """Kill a send at random times while its list changes and its stores fail; then let it end."""
    sandbox.reset(rng)
    sandbox.faults()
    names = [f"cidlist{number:03d}" for number in range(groups)]
    for name in names:
        sandbox.tell("POST", "/conversations", {**CONVERSATION, "open_conversation_id": name})
    tally = Tally(keys=groups, batches=groups)
    with task_of(sandbox, sending_lists(names, f"{rng.random()}", KILLS + 1, places)) as task:
        for _ in range(KILLS):
            if task.kill_somewhere(rng.randrange(1, max(2, groups // KILLS)), rng, SPREAD):
                tally.killed(sandbox.share("group", "sent", groups))
        end = _to_the_end(task, tally)
        _check(sandbox, task, names, end, tally)
        receipts, unknown = pushed(task), unknown_of(task)
    with task_of(sandbox, recalling(receipts)) as rollback:
        _to_the_end(rollback, tally)
    left = [one["open_conversation_id"] for one in sandbox.messages() if one["recalled_at"] is None]
    tally.must(set(left) <= unknown, f"{len(left)} are left after the rollback")
    return tally


def _to_the_end(task: Task, tally: Tally) -> dict[str, Any]:
    end: dict[str, Any] = {"state": "never", "code": ""}
    for _ in range(MOST_TRIES):
        end = task.run()
        if end["state"] == "success" or (end["state"] == "failed" and end["code"] not in DEAD_TOKEN):
            return end
    tally.must(False, f"no end after {MOST_TRIES} tries: {end}")
    return end


def _check(sandbox: SandboxProcess, task: Task, names: Sequence[str], end: Mapping[str, Any], tally: Tally) -> None:
    unknown, keys, sent = unknown_of(task), {receipt.key for receipt in pushed(task)}, sandbox.messages()
    copies = Counter(one["open_conversation_id"] for one in sent)
    tally.double += sum(number - 1 for number in copies.values())
    tally.lost += len([one for one in sent if one["key"] not in keys and one["open_conversation_id"] not in unknown])
    tally.unknown += len(unknown)
    tally.calls += len(sent)
    tally.must(keys <= {one["key"] for one in sent}, "a receipt of nothing")
    silent = set(names) - set(copies) - unknown
    tally.must(not silent, f"{len(silent)} groups were forgotten")
    tally.must(end["state"] == ("failed" if unknown else "success"), f"{len(unknown)} unknown, and {end}")
    most = IN_DOUBT * len(task.gauges)
    tally.must(len(unknown) <= most, f"{len(unknown)} unknown after {len(task.gauges)} tries, at most {most}")
