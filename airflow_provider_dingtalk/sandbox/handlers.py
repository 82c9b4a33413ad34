"""Types of messages and the handler of each API. A type is the ``TYPE`` of the module with the kind's name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from airflow_provider_dingtalk.client.endpoints import Endpoint, Kind
from airflow_provider_dingtalk.sandbox import tokens
from airflow_provider_dingtalk.sandbox.call import Handler, MessageType

MESSAGE_TYPES: Mapping[str, MessageType] = {
    kind.value: import_module(f"airflow_provider_dingtalk.sandbox.{kind}").TYPE for kind in Kind
}
HANDLERS: Mapping[type[Endpoint[Any]], Handler] = {
    endpoint: handler
    for handlers in (tokens.HANDLERS, *(message_type.handlers for message_type in MESSAGE_TYPES.values()))
    for endpoint, handler in handlers.items()
}
