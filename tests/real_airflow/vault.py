"""Sandbox with unique secrets, so a secret scan finds eight characters of any of them."""

from __future__ import annotations

from random import SystemRandom

from airflow_provider_dingtalk.sandbox.behaviour import Behaviour
from tests.faults.fixtures import CanaryState, canary, populate_with

_chance = SystemRandom()
#: Secret of the app, secret and ticket of the third-party app, and a wrong secret.
SECRET, SUITE, TICKET, MISTYPED = (canary(_chance) for _ in range(4))


class Vault(CanaryState):
    """Default organisation with other secrets; it records every token that it issued."""

    def __init__(self, behaviour: Behaviour) -> None:
        #: Tokens issued before the last reset.
        self.before: list[str] = []
        super().__init__(populate_with(SECRET, SUITE, TICKET), start_behaviour=behaviour)

    def reset(self) -> None:
        """Reset the sandbox, but keep the issued tokens."""
        self.before += getattr(self, "given", [])
        super().reset()

    def secrets(self) -> set[str]:
        """Return all secrets, which must not be in any text."""
        return {SECRET, SUITE, TICKET, MISTYPED, *self.before, *self.given}
