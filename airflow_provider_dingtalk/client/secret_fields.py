"""Mixin for structs with secrets."""

from __future__ import annotations

from typing import Any, ClassVar


class SecretFields:
    """Mixin for structs of which the fields in ``shown`` may be seen, and all others are secret."""

    __slots__ = ()
    __struct_fields__: ClassVar[tuple[str, ...]]

    shown: ClassVar[tuple[str, ...]]

    def secrets(self) -> tuple[str, ...]:
        """Return the secret texts, which errors must never show."""
        values = (getattr(self, name) for name in self.__struct_fields__ if name not in self.shown)
        return tuple(value for value in values if isinstance(value, str))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # msgspec passes all fields to rich, and so to Airflow's tracebacks.
        return [(name, getattr(self, name)) for name in self.shown]
