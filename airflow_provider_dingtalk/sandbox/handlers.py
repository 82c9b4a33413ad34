"""Types of messages and the handler of each API. A new type is one module with ``TYPE``, and one entry here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_dingtalk.client.endpoints import Endpoint
from airflow_provider_dingtalk.sandbox import ding, group, oto, private_chat, tokens, work_notification
from airflow_provider_dingtalk.sandbox.call import Handler, MessageType

MESSAGE_TYPES: Mapping[str, MessageType] = {
    module.TYPE.kind: module.TYPE for module in (group, oto, private_chat, work_notification, ding)
}
HANDLERS: Mapping[type[Endpoint[Any]], Handler] = {
    endpoint: handler
    for handlers in (tokens.HANDLERS, *(message_type.handlers for message_type in MESSAGE_TYPES.values()))
    for endpoint, handler in handlers.items()
}
