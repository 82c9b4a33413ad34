"""A class shows the keyword arguments of its base classes."""

from __future__ import annotations

from typing import Any

from airflow_provider_dingtalk.operators.signatures import full_signature


class Base:
    def __init__(self, first: int, *, a: int = 1, b: int = 2, **kwargs: Any) -> None: ...


class Middle(Base):
    pass


class Derived(Middle):
    def __init__(self, *, b: int = 3, c: int = 4, **kwargs: Any) -> None: ...


def test_the_nearest_class_gives_an_argument_and_only_keywords_are_shown() -> None:
    assert str(full_signature(Derived)) == "(*, b: 'int' = 3, c: 'int' = 4, a: 'int' = 1)"


def test_a_class_without_a_constructor_shows_that_of_its_base() -> None:
    assert str(full_signature(Middle)) == "(*, a: 'int' = 1, b: 'int' = 2)"
