"""The sandbox in its own process, and its control API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from random import Random
from types import TracebackType
from typing import Any, Self

import httpx

from airflow_provider_dingtalk.messages.receipt import Kind, Receipt
from airflow_provider_dingtalk.sandbox.default import GROUPS, ROBOT_CODE
from dev.sandbox import sandbox_process

RECALL_API = {Kind.GROUP: "robot/groupMessages/recall", Kind.OTO: "robot/otoMessages/batchRecall"}
SEND_API = "robot/oToMessages/batchSend"


class SandboxProcess:
    """Sandbox without a rate limit on a free loopback port.

    :param seed: Seed of its keys and of its random faults.
    """

    def __init__(self, seed: int) -> None:
        self._exit_stack = ExitStack()
        self.url = self._exit_stack.enter_context(sandbox_process("--calls-per-second", "0", "--seed", str(seed)))
        self._http = httpx.Client(base_url=f"{self.url}/_sandbox", trust_env=False, timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
        self._exit_stack.close()

    # ── control requests ──

    def ask(self, path: str, **params: Any) -> Any:
        """Send a GET to the control API and return the JSON."""
        return self._http.get(path, params=params).raise_for_status().json()

    def tell(self, method: str, path: str, body: Any) -> Any:
        """Send a PUT or POST to the control API and return the JSON."""
        return self._http.request(method, path, json=body).raise_for_status().json()

    def reset(self, rng: Random, **switches: Any) -> None:
        """Reset the sandbox with these switches and with other random values than before."""
        self.tell("POST", "/reset", {})
        self.tell("PUT", "/behaviour", switches)
        # A reset restarts the seeded generator. A random number of DINGs, which are not used, advances it.
        self.tell("POST", "/plant", {"kind": "ding", "count": rng.randrange(1, 100)})

    def faults(self, *rules: Mapping[str, Any]) -> None:
        """Replace the fault rules."""
        self.tell("PUT", "/faults", list(rules))

    def hits(self) -> tuple[int, int]:
        """Return how many calls the rules hit, and how many they matched."""
        rules = self.ask("/faults")["faults"]
        return sum(rule["fired"] for rule in rules), max((rule["seen"] for rule in rules), default=0)

    def create_messages(self, count: int, *, age_seconds: float = 0) -> list[Receipt]:
        """Create group messages of an age in seconds and return their receipts."""
        order = {"kind": "group", "count": count, "age_seconds": age_seconds}
        return [
            Receipt(kind=Kind.GROUP, robot_code=ROBOT_CODE, open_conversation_id=GROUPS[0], process_query_key=str(key))
            for key in self.tell("POST", "/plant", order)["keys"]
        ]

    # ── state snapshot ──

    def share(self, kind: str, what: str, of: int) -> float:
        """Return the share of messages of a kind in a state."""
        counts = self.ask("/truth", brief=1)["counts"].get(kind, {})
        return float(counts.get(what, 0)) / of

    def calls(self, api: str) -> int:
        """Return the number of requests to an API that arrived."""
        return int(self.ask("/truth", brief=1)["calls"].get(api, {}).get("total", 0))

    def messages(self) -> list[dict[str, Any]]:
        """Return all messages, also recalled ones, without DINGs."""
        return [one for one in self.ask("/truth")["messages"] if one["kind"] != "ding"]

    def answers(self, codes: Sequence[str]) -> int:
        """Return the number of requests that were answered with one of these codes."""
        return sum(entry["code"] in codes for entry in self.ask("/journal")["requests"])
