"""Message templates of robots."""

from __future__ import annotations

import json

import pytest

from airflow_provider_dingtalk.sandbox.api_errors import ApiError
from airflow_provider_dingtalk.sandbox.templates import TEMPLATES, text_of
from tests.sandbox.raw_client import RawClient


def test_15000_bytes_are_sent(client: RawClient) -> None:
    param = json.dumps({"content": "x" * 14_985})
    assert len(param) == 15_000
    assert client.send("group", msgParam=param).status_code == 200


@pytest.mark.parametrize("msg_key", TEMPLATES)
def test_each_part_is_required(msg_key: str) -> None:
    parts = dict.fromkeys(TEMPLATES[msg_key], "x")
    text_of(msg_key, json.dumps(parts))
    for name, code in TEMPLATES[msg_key].items():
        for lacking in ({n: v for n, v in parts.items() if n != name}, {**parts, name: ""}):
            with pytest.raises(ApiError) as raised:
                text_of(msg_key, json.dumps(lacking))
            assert raised.value.code == code


@pytest.mark.parametrize(
    ("msg_key", "param", "text"),
    [
        ("sampleText", {"content": "hello"}, "hello"),
        ("sampleMarkdown", {"title": "t", "text": "#"}, "t · #"),
        ("sampleFile", {"mediaId": "@m", "fileName": "a.pdf", "fileType": "pdf"}, "a.pdf · @m"),
    ],
)
def test_text(msg_key: str, param: dict[str, str], text: str) -> None:
    assert text_of(msg_key, json.dumps(param)) == text


def test_bytes_count_not_characters() -> None:
    with pytest.raises(ApiError) as raised:
        text_of("sampleText", json.dumps({"content": "字" * 5_000}, ensure_ascii=False))
    assert raised.value.code == "invalidParameter.msgParam.tooLong"
