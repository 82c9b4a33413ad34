"""DingTalk's own pages about the five APIs, read for their error tables while the tests run."""

from __future__ import annotations

import os
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
COPIES = REPOSITORY / "tests" / "samples" / "seed_pages"

_PIPED = re.compile(r"^\|\s*([45]\d\d)\s*\|\s*([A-Za-z.]+)\s*\|", re.MULTILINE)
#: ``400invalid.openConversationId%s…``: the cells of the table have run together.
_GLUED = re.compile(r"^([45]\d\d)([A-Za-z.]+)%s", re.MULTILINE)
#: ``400002Invalid agentId…`` and ``500System error…`` on the page of the old host.
_NUMBERS = re.compile(r"^(400\d{3}|500)(?=[A-Z])()", re.MULTILINE)


def pages() -> dict[str, str]:
    """The text of each page by its number: as supplied, or the copies kept with the tests."""
    supplied = Path(os.environ.get("DINGTALK_SEEDS", REPOSITORY.parent / "shared" / "seeds"))
    folder = supplied if supplied.is_dir() else COPIES
    return {path.name[:3]: path.read_text(encoding="utf-8") for path in sorted(folder.glob("00[0-4]_*.txt"))}


def error_table(text: str) -> dict[str, int]:
    """HTTP status by code; on the page of the old host the number is the code, and the status always 200."""
    begin = max(text.rfind("Error codes"), text.rfind("错误码\n"))
    table = text[begin:]
    found = _PIPED.findall(table) or _GLUED.findall(table)
    if found:
        return {code: int(status) for status, code in found}
    return {number: 200 for number, _ in _NUMBERS.findall(table)}
