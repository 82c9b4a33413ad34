"""Array of a library such as numpy, without the library."""

from __future__ import annotations

from typing import Any


class Array:
    """Array of a library, whose comparisons are arrays again."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> Any:
        return self

    def __str__(self) -> str:
        return "[1 2]"

    def __len__(self) -> int:
        return 2

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")
