"""The error codes that the research about DingTalk's API names, read from the document itself.

``python -m tests.client.research`` writes ``research_codes.txt``, which stands in for the document in a clone.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.sandbox.seed_pages import REPOSITORY

DOCUMENT = REPOSITORY.parent / "shared" / "research" / "dingtalk_api.md"
COPY = Path(__file__).with_name("research_codes.txt")

#: Texts between backticks in sections 3 to 5 that look like error codes: fields, APIs, names of libraries.
NOT_CODES = frozenset(
    ("code", "description", "requestid", "accessdenieddetail", "accessDeniedDetail", "failedResult")
    + ("expireIn", "corpAccessToken", "flowControlledStaffIdList", "msgUuid")
    + ("department.listsub", "darabonba.exceptions.UnretryableException", "Config.protocol")
    + ("requests", "httpx")
)

_QUOTED = re.compile(r"`([^`\n]+)`")
#: ``a.b.c``, ``a``, a family ``a.b.*``, a list of endings ``a.b.c/.d``, or an ending alone ``.d``.
_WORD = re.compile(r"[A-Za-z]+(?:\.[A-Za-z]+)*(?:\.\*)?(?:/\.[A-Za-z]+)*|\.[A-Za-z]+")
_IN_JSON = re.compile(r'"(?:code|sub_code)":\s*"([^"…]+)"|"status":\s*(\d+)')
_NUMBER = re.compile(r"(?<![\w.-])(?:-1(?!\w)|\d{5,6})(?!\w)")


def codes_of(document: str) -> list[str]:
    """The codes of sections 3 to 5, in order; a family ends with ``.*``."""
    text = document[document.index("\n## 3. ") : document.index("\n## 6. ")]
    found: list[str] = []
    for quoted in _QUOTED.findall(text):
        if quoted.startswith("{"):
            found += [code or status for code, status in _IN_JSON.findall(quoted)]
        elif _WORD.fullmatch(quoted) and quoted not in NOT_CODES:
            first, *endings = quoted.split("/")
            if first.startswith("."):
                first, endings = found[-1], [first]
            found += [first, *(first.rpartition(".")[0] + ending for ending in endings)]
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if line.startswith("| old host"):
            found += _NUMBER.findall(cells[2])
        elif line.startswith("|") and len(cells) == 7:  # the table of section 4: the signal of the old host
            found += _NUMBER.findall(cells[4])
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    COPY.write_text("\n".join(codes_of(DOCUMENT.read_text(encoding="utf-8"))) + "\n", encoding="utf-8")
