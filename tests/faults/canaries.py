"""A sweep for secrets: in every text, in every form a text can take, whole or eight characters of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

from tests.faults.stage import Sinks

#: Characters in a row that give a secret away.
WINDOW = 8


@dataclass(frozen=True)
class Leak:
    """A secret that was found.

    :param sink: Where.
    :param form: As what: ``raw``, ``quoted``, …
    :param around: What stands there, to find the place.
    """

    sink: str
    form: str
    around: str


def forms(secret: str) -> Iterator[tuple[str, str]]:
    """A secret in all forms that programs give it, by name."""
    yield "raw", secret
    yield "quoted", quote(secret, safe="")
    yield "quoted", quote(secret)
    yield "quoted", quote_plus(secret)
    yield "json", json.dumps(secret)[1:-1]
    yield "repr", repr(secret)[1:-1]
    yield "repr", repr(secret.encode())[2:-1]
    for shift in range(3):
        # In the middle of a longer text base64 has three faces; the first characters depend on what stands before.
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield "base64", encode(b"\0" * shift + secret.encode()).decode().rstrip("=")[4 if shift else 0 : -2]


def windows(secrets: Iterable[str]) -> dict[str, str]:
    """Every eight characters in a row of every form, and the name of the form."""
    found: dict[str, str] = {}
    for secret in secrets:
        for name, text in forms(secret):
            for start in range(len(text) - WINDOW + 1):
                found.setdefault(text[start : start + WINDOW], name)
    return found


def leaks_in(texts: Iterable[str], wanted: Mapping[str, str], sink: str = "text") -> list[Leak]:
    """Secrets in texts: one leak for each text that holds any."""
    found = []
    for text in texts:
        for start in range(len(text) - WINDOW + 1):
            if (form := wanted.get(text[start : start + WINDOW])) is not None:
                found.append(Leak(sink, form, text[max(0, start - 60) : start + 20]))
                break
    return found


def sweep(sinks: Sinks) -> list[Leak]:
    """Secrets in all that was written."""
    wanted = windows(sinks.secrets)
    return [leak for sink, texts in sinks.texts.items() for leak in leaks_in(texts, wanted, sink)]
