"""Switches: names, values and their text form."""

from __future__ import annotations

import msgspec
import pytest

from airflow_provider_dingtalk.sandbox.behaviour import Behaviour, parse_switch


def test_change_keeps_the_others() -> None:
    changed = Behaviour(max_keys=7).changed({"unfit_keys": "per_key"})
    assert changed == Behaviour(max_keys=7, unfit_keys="per_key")
    assert changed.changed({}) == changed


@pytest.mark.parametrize("changes", [{"mood": "good"}, {"max_keys": 0}, {"unfit_keys": "maybe"}, {"max_keys": "7"}])
def test_invalid_changes(changes: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        Behaviour().changed(changes)


@pytest.mark.parametrize(
    ("text", "switch"),
    [
        ("max_keys=7", ("max_keys", 7)),
        ("unfit_keys=per_key", ("unfit_keys", "per_key")),
        ("repeat_filter=false", ("repeat_filter", False)),
        ("unknown_key_code=a=b", ("unknown_key_code", "a=b")),
    ],
)
def test_text_form(text: str, switch: tuple[str, object]) -> None:
    assert parse_switch(text) == switch


@pytest.mark.parametrize("text", ["max_keys", "mood=good", "=7", ""])
def test_invalid_text_form(text: str) -> None:
    with pytest.raises(ValueError, match="expected name=value"):
        parse_switch(text)
