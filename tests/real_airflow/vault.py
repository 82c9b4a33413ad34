"""A DingTalk whose secrets are like no other text, so that a sweep finds eight characters of any."""

from __future__ import annotations

from random import SystemRandom

from airflow_provider_dingtalk.sandbox.behaviour import Behaviour
from tests.faults.stage import CanaryWorld, canary, furnished_with

_chance = SystemRandom()
#: The app's own, the suite's and its ticket, and one that is wrong.
SECRET, SUITE, TICKET, MISTYPED = (canary(_chance) for _ in range(4))


class Vault(CanaryWorld):
    """The usual company with other secrets. It remembers every token that it ever gave."""

    def __init__(self, behaviour: Behaviour) -> None:
        #: Tokens given before the last reset.
        self.before: list[str] = []
        super().__init__(furnished_with(SECRET, SUITE, TICKET), start_behaviour=behaviour)

    def reset(self) -> None:
        """Back to the beginning, but for what was given out."""
        self.before += getattr(self, "given", [])
        super().reset()

    def secrets(self) -> set[str]:
        """All that nobody may ever read."""
        return {SECRET, SUITE, TICKET, MISTYPED, *self.before, *self.given}
