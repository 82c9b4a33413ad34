"""Secret scanner: finds secrets in texts, in all encodings, whole or eight characters of them."""

from __future__ import annotations

import base64
import functools
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

from tests.faults.fixtures import Sinks

#: Number of consecutive characters of a secret that count as a leak.
WINDOW = 8


@dataclass(frozen=True)
class Leak:
    """A secret that was found.

    :param sink: Name of the place.
    :param form: Name of the encoding: ``raw``, ``quoted``, …
    :param around: Text around the secret.
    """

    sink: str
    form: str
    around: str


def forms(secret: str) -> Iterator[tuple[str, str]]:
    """List the encodings of a secret with their names."""
    yield "raw", secret
    yield "quoted", quote(secret, safe="")
    yield "quoted", quote(secret)
    yield "quoted", quote_plus(secret)
    yield "json", json.dumps(secret)[1:-1]
    yield "repr", repr(secret)[1:-1]
    yield "repr", repr(secret.encode())[2:-1]
    for shift in range(3):
        # Inside a longer text, base64 depends on the offset modulo 3, and its first characters on the text before.
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield "base64", encode(b"\0" * shift + secret.encode()).decode().rstrip("=")[4 if shift else 0 : -2]


class Windows(dict[str, str]):
    """Every eight consecutive characters of every encoding of secrets, with the name of the encoding."""

    @functools.cached_property
    def runs(self) -> re.Pattern[str]:
        """Pattern of what in a text may hold one of them: characters of theirs in a row."""
        return re.compile(f"[{re.escape(''.join(sorted(set(''.join(self)))))}]{{{WINDOW},}}")

    def first_in(self, text: str) -> int | None:
        """Return where the first of them begins in a text; None without any."""
        seen = set()
        for run in self.runs.finditer(text) if self else ():
            # Logs repeat most of what they hold.
            if (part := run[0]) not in seen:
                seen.add(part)
                for start in range(len(part) - WINDOW + 1):
                    if part[start : start + WINDOW] in self:
                        return run.start() + start
        return None


def windows(secrets: Iterable[str]) -> Windows:
    """Return every eight consecutive characters of every encoding, with its name."""
    found = Windows()
    for secret in secrets:
        for name, text in forms(secret):
            for start in range(len(text) - WINDOW + 1):
                found.setdefault(text[start : start + WINDOW], name)
    return found


def leaks_in(texts: Iterable[str], wanted: Windows, sink: str = "text") -> list[Leak]:
    """List one leak for each text with a secret."""
    found = ((text, start) for text in texts if (start := wanted.first_in(text)) is not None)
    return [
        Leak(sink, wanted[text[start : start + WINDOW]], text[max(0, start - 60) : start + 20]) for text, start in found
    ]


def sweep(sinks: Sinks) -> list[Leak]:
    """List the leaks in all sinks."""
    wanted = windows(sinks.secrets)
    return [leak for sink, texts in sinks.texts.items() for leak in leaks_in(texts, wanted, sink)]
