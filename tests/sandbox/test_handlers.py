"""Registration of message types and handlers."""

from __future__ import annotations

import pytest

from airflow_provider_dingtalk.client.endpoints import ENDPOINTS, Idempotency, Kind
from airflow_provider_dingtalk.sandbox.handlers import HANDLERS, MESSAGE_TYPES
from tests.sandbox.raw_client import RawClient


def test_every_endpoint_is_served() -> None:
    assert set(HANDLERS) == set(ENDPOINTS)


def test_each_message_type_has_send_and_recall() -> None:
    for message_type in MESSAGE_TYPES.values():
        idempotencies = {endpoint.http.idempotency for endpoint in message_type.handlers}
        assert idempotencies >= {Idempotency.SEND, Idempotency.RECALL}, message_type.kind


def test_kinds_are_those_of_the_modules() -> None:
    assert list(MESSAGE_TYPES) == list(Kind)
    assert sum(len(message_type.handlers) for message_type in MESSAGE_TYPES.values()) == len(HANDLERS) - 2


@pytest.mark.parametrize("kind", ["group", "oto", "private_chat", "work_notification", "ding"])
def test_created_messages_of_each_type_can_be_recalled(client: RawClient, kind: str) -> None:
    [key] = client.create_messages(kind)
    if kind == "work_notification":
        client.work("recall", {"agent_id": 1000001, "msg_task_id": key})
    elif kind == "ding":
        client.post("/v1.0/robot/ding/recall", {"robotCode": "dingsandbox", "openDingId": key})
    else:
        client.recall(kind, [key])
    assert client.recalled(key)
    assert client.sandbox.snapshot(brief=True)["counts"][kind] == {"sent": 1, "recalled": 1, "visible": 0}


def test_codes_name_fields_of_the_endpoint() -> None:
    for endpoint, handler in HANDLERS.items():
        fields = set(endpoint.__struct_encode_fields__)
        assert {*handler.missing, *handler.empty, *handler.too_many} <= fields, endpoint
